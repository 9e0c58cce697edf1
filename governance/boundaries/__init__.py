"""The doors to what is not ours: programs, the disk, config.toml and uv."""
