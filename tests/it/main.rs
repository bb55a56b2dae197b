//! What drover does, seen from outside. The modules are the table of contents.

mod http;
