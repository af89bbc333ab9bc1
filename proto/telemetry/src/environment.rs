//! Variables of the environment that are no settings of ours and still decide where things go: of OpenTelemetry, OpenLineage
//! and object stores. For people. Pure, but for [`shown`], which reads the environment.

use reqwest::Url;

/// What stands for a value that is nobody's business.
const HIDDEN: &str = "(not shown)";
/// Of these, every variable.
const FAMILIES: [&str; 3] = ["OTEL_", "OPENLINEAGE_", "LAKE_OPENLINEAGE_"];
/// Of those for object stores, these: the others are credentials, or where credentials are.
const STORES: [&str; 7] = [
    "AWS_ALLOW_HTTP",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
];
/// Parts of names whose values are secrets. Headers have tokens.
const SECRET: [&str; 6] = ["SECRET", "PASSWORD", "TOKEN", "CREDENTIAL", "KEY", "HEADERS"];

/// Those that are set, by name, without secrets.
pub fn shown() -> Vec<(String, String)> {
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    chosen(all)
}

fn chosen(all: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let is_told = |name: &str| FAMILIES.iter().any(|family| name.starts_with(family)) || STORES.contains(&name);
    let told = all.filter(|(name, value)| is_told(name) && !value.is_empty());
    let mut shown = Vec::new();
    for (name, value) in told {
        let value = shown_value(&name, &value);
        shown.push((name, value));
    }
    shown.sort();
    shown
}

fn shown_value(name: &str, value: &str) -> String {
    // The place of a secret is no secret.
    if SECRET.iter().any(|part| name.contains(part)) && !name.ends_with("_FILE") {
        return HIDDEN.to_owned();
    }
    // A document, as OpenLineage's transport is one, may have a key anywhere in it.
    if value.trim_start().starts_with('{') {
        return HIDDEN.to_owned();
    }
    let shown = match Url::parse(value) {
        Ok(mut url) if url.has_host() => {
            // None of them fails on a URL with a host. What is behind the `?` may be a key.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.to_string()
        }
        Ok(_) | Err(_) => value.to_owned(),
    };
    // Several URLs, or something else that may have a password before a host.
    if shown.contains('@') { HIDDEN.to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_told_by_name_and_what_is_secret_in_them_never() {
        let set = [
            ("PATH", "/bin"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hidden1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://ann:hidden2@otel:4318/?key=hidden3"),
            ("OTEL_SERVICE_NAME", "orders"),
            ("LAKE_OPENLINEAGE_API_KEY", "hidden4"),
            ("LAKE_OPENLINEAGE_API_KEY_FILE", "/run/secrets/marquez"),
            ("OPENLINEAGE_NAMESPACE", ""),
            ("OPENLINEAGE__TRANSPORT", " {\"type\": \"http\", \"auth\": {\"apiKey\": \"hidden7\"}}"),
            ("OPENLINEAGE_URLS", "http://ann:hidden8@m,http://ann:hidden9@n"),
            ("AWS_ENDPOINT_URL", "http://s3:9000"),
            ("AWS_ACCESS_KEY_ID", "hidden5"),
            ("AWS_SESSION_TOKEN", "hidden6"),
        ];
        let told = chosen(set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("AWS_ENDPOINT_URL", "http://s3:9000/"),
            ("LAKE_OPENLINEAGE_API_KEY", HIDDEN),
            ("LAKE_OPENLINEAGE_API_KEY_FILE", "/run/secrets/marquez"),
            ("OPENLINEAGE_URLS", HIDDEN),
            ("OPENLINEAGE__TRANSPORT", HIDDEN),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", HIDDEN),
            ("OTEL_SERVICE_NAME", "orders"),
        ];
        assert_eq!(told, expected);
    }
}
