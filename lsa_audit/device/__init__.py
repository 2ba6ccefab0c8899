"""Where the work runs: device and threads, processes, the clock, the doctor."""
