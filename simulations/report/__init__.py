"""Reports: run folders in, one page and figures for print out."""
