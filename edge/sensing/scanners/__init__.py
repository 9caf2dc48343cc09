"""Where radio frames come from: adapters and recordings."""
