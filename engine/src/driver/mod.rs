//! The driver: runs a pipeline's steps in order and commits.
