"""Where objects lie: the seam, a local directory, S3 and its like."""
