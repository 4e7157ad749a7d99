"""Commands that measure: each prints ratios taken in one run, on this machine, beside what it compared."""
