"""Tests of seqcore."""
