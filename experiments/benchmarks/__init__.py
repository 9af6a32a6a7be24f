"""What our software is measured against, in the same run."""
