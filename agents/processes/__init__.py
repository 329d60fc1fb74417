"""Which processes a target means. After `admission`, before `binaries`: their executables are what gets resolved."""
