"""Object stores: the interface, a local directory, and S3, Azure and Google Cloud Storage."""
