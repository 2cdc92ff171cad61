//! Publishing over HTTP: versions and their tags, publishers at once, seats that are added and never vanish, and what a
//! publication means to those who sell at the same time.

mod organisers;
mod removing;
mod selling;
mod versions;
