"""Picture domains: kinds of pictures that a space may tell from photos, such as drawings, renders, depth maps."""

PHOTO = "photo"
