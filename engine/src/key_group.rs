//! Who owns which key.
