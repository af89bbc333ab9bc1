//! Files that the pages of masters refer to: those of all our daemons, and the look of drawings. Pure.

use lake_web::Asset;

const OWN: [Asset; 2] = [
    Asset {
        path: "/drawing.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("assets/drawing.css"),
    },
    Asset {
        path: "/follow.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_str!("assets/follow.js"),
    },
];

/// Every file that the pages of masters refer to.
pub fn assets() -> impl Iterator<Item = Asset> {
    lake_web::ASSETS.into_iter().chain(OWN)
}
