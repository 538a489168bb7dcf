"""MP4 and QuickTime files as bytes: boxes, reading and writing (ISO/IEC 14496-12, -14 and -15)."""
