//! Tests of the classifier.
