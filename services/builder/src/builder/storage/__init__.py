"""Source archives in object storage: S3, Google Cloud Storage, Azure, or a directory. Nothing else imports obstore."""
