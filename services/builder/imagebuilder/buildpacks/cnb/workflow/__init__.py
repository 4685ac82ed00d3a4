"""What our buildpacks share."""
