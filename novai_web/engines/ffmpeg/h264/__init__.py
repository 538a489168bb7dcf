"""H.264 as bytes: parameter sets, and slices moved from one sequence parameter set to another (ITU-T H.264)."""
