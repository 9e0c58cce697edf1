"""What is asked or done beside a change: status, verify, check, run, clean, recover."""
