"""Tests of rooms, from one message to several workers."""
