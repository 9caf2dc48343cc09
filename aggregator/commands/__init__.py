"""What `jaga-central` can be told, a module for each group of commands."""
