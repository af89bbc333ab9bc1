//! What holds for every page, whatever is in it. For tests.

use crate::link::route;

pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&/../";
pub(crate) const ESCAPED: &str = "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;";

/// Elements without an end.
const VOID: [&str; 4] = ["meta", "link", "input", "!doctype"];

/// Nothing of it is markup from outside or takes effect against the policy, elements end where they should, ids are there
/// once, and links lead to pages that are there.
pub(crate) fn assert_sound(page: &str) {
    assert!(!page.contains("<img"), "{page}");
    for inline in [" style=", "<style", "<script>", "javascript:", " onclick", " onload"] {
        assert!(!page.contains(inline), "{inline} in {page}");
    }
    assert_nested(page);
    assert_ids_are_unique(page);
    for (_, rest) in page.match_indices(" href=\"").map(|(at, found)| page.split_at(at + found.len())) {
        let href = rest.split('"').next().unwrap();
        assert!(is_known(href, page), "a link leads to {href} in {page}");
    }
    for (_, rest) in page.match_indices(" action=\"").map(|(at, found)| page.split_at(at + found.len())) {
        let action = rest.split('"').next().unwrap();
        assert!(is_known(action, page), "a form leads to {action} in {page}");
    }
}

/// A page that is read again, as the script does it, must be the same.
fn assert_nested(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap();
        if let Some(ended) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(ended), "in {page}");
        } else if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} do not end in {page}");
}

fn ids(page: &str) -> Vec<&str> {
    page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

fn assert_ids_are_unique(page: &str) {
    let mut all = ids(page);
    all.sort_unstable();
    let doubled: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(doubled.is_empty(), "{doubled:?} in {page}");
}

fn is_known(href: &str, page: &str) -> bool {
    if let Some(id) = href.strip_prefix('#') {
        return ids(page).contains(&id);
    }
    // A worker's own page is elsewhere.
    if href.starts_with("http://") {
        return true;
    }
    let path = href.split(['?', '#']).next().unwrap();
    let is_asset = crate::assets().any(|asset| asset.path == path);
    is_asset || route::ALL.iter().any(|route| fits(route, path))
}

fn fits(route: &str, path: &str) -> bool {
    let (pattern, parts): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    let fits_part = |(pattern, part): (&&str, &&str)| {
        if pattern.starts_with('{') { !part.is_empty() } else { pattern == part }
    };
    pattern.len() == parts.len() && pattern.iter().zip(&parts).all(fits_part)
}

#[test]
fn routes_are_told_apart() {
    assert!(fits("/", "/") && fits("/tables/{name}", "/tables/a.b") && fits("/tables", "/tables"));
    assert!(!fits("/tables/{name}", "/tables/") && !fits("/tables/{name}", "/tables/a/b") && !fits("/tables", "/"));
}
