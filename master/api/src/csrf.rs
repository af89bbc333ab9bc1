//! The token of a form that changes something: that its sender has seen our page. Pure.
//!
//! HMAC-SHA-256 over what is to be changed, under a key that all masters of a group have and nobody else. So a page may come
//! from one master (the leader draws it) and its form go to another, before and after a restart, and no state is kept. The
//! token is not bound to a visitor: who can see the page may do what its form does. It only keeps out a site that makes a
//! visitor's browser send a form: that site cannot read our page (the browser's same-origin policy, which DNS rebinding
//! cannot get around, since only our own names are answered to), so it has no token. `Origin` is checked besides.

use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

/// What tokens are made with.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// The key that follows from a secret of the group.
    pub fn of(secret: &[u8]) -> Self {
        Self(hmac(secret, b"lake csrf 1"))
    }

    /// The token of a form that ends this application.
    pub fn kill_token(&self, app_id: &str) -> String {
        let token = hmac(&self.0, format!("kill\0{app_id}").as_bytes());
        token.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this is the token of a form that ends this application. Takes as long for any text of its length.
    pub fn admits_kill(&self, app_id: &str, token: &str) -> bool {
        let expected = self.kill_token(app_id);
        let differences = expected.bytes().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        expected.len() == token.len() && differences == 0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The token in the body of a form, in the field of this name.
pub fn token_of_form(body: &[u8], field: &str) -> Option<String> {
    let mut fields = url::form_urlencoded::parse(body);
    fields.find(|(name, _)| name == field).map(|(_, token)| token.into_owned())
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block.iter_mut().zip(Sha256::digest(key)).for_each(|(place, byte)| *place = byte);
    } else {
        block.iter_mut().zip(key).for_each(|(place, byte)| *place = *byte);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_construction_is_that_of_rfc_4231() {
        for (key, message, expected) in [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&hmac(&key, &message)), expected);
        }
    }

    #[test]
    fn a_token_is_good_at_every_master_of_the_group_for_one_application_and_for_nothing_else() {
        let (leader, follower, stranger) = (Key::of(b"group"), Key::of(b"group"), Key::of(b"other group"));
        let token = leader.kill_token("app-1");
        assert!(follower.admits_kill("app-1", &token));
        assert!(!follower.admits_kill("app-2", &token) && !stranger.admits_kill("app-1", &token));
        for wrong in ["", "0", &token[1..], &format!("{token}0"), &token.to_uppercase(), &"0".repeat(64)] {
            assert!(!leader.admits_kill("app-1", wrong), "{wrong}");
        }
        assert!(!format!("{leader:?}").contains(&hex(&leader.0)));
    }

    #[test]
    fn a_token_comes_in_a_field_of_a_form() {
        assert_eq!(token_of_form(b"a=b&csrf=%61bc&csrf=other", "csrf").as_deref(), Some("abc"));
        for body in [&b""[..], b"csrf", b"other=1", b"\xff\xfe=1"] {
            assert_eq!(token_of_form(body, "csrf").filter(|token| !token.is_empty()), None);
        }
    }
}
