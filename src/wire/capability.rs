//! What the two ends of a connection agreed on, as bits.
//!
//! Only names and set operations: what is offered to whom is decided in `client` and `backend`.
// https://dev.mysql.com/doc/dev/mysql-server/latest/group__group__cs__capabilities__flags.html

/// A set of capability flags.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Capabilities(pub u32);

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Capabilities {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
        }

        const NAMES: &[(&str, Capabilities)] =
            &[$((stringify!($name), Capabilities::$name)),*];
    };
}

names! {
    /// MySQL: always; MariaDB clears it and so says that its extended flags count.
    LONG_PASSWORD = 0;
    /// Affected rows are the rows found, not the rows changed.
    FOUND_ROWS = 1;
    /// Column flags have two bytes.
    LONG_FLAG = 2;
    /// The login names a schema.
    CONNECT_WITH_DB = 3;
    /// `schema.table.column` is an error.
    NO_SCHEMA = 4;
    /// zlib compression.
    COMPRESS = 5;
    /// Of no meaning any more.
    ODBC = 6;
    /// The client serves LOAD DATA LOCAL.
    LOCAL_FILES = 7;
    /// Blanks before a function's parenthesis.
    IGNORE_SPACE = 8;
    /// The protocol of 4.1; nothing else is spoken.
    PROTOCOL_41 = 9;
    /// `interactive_timeout` counts.
    INTERACTIVE = 10;
    /// TLS is wanted.
    SSL = 11;
    /// Of no meaning any more.
    IGNORE_SIGPIPE = 12;
    /// Statuses tell of transactions.
    TRANSACTIONS = 13;
    /// Of no meaning any more.
    RESERVED = 14;
    /// Nonces of 20 bytes.
    SECURE_CONNECTION = 15;
    /// Several statements in one text.
    MULTI_STATEMENTS = 16;
    /// Several results of one statement.
    MULTI_RESULTS = 17;
    /// The same of a prepared statement.
    PS_MULTI_RESULTS = 18;
    /// Authentication plugins have names.
    PLUGIN_AUTH = 19;
    /// The client tells about itself.
    CONNECT_ATTRS = 20;
    /// The login's secret may be longer than 255 bytes.
    PLUGIN_AUTH_LENENC = 21;
    /// The client knows what an expired password is.
    EXPIRED_PASSWORDS = 22;
    /// OK packets tell what changed in the session.
    SESSION_TRACK = 23;
    /// Results end with an OK, and no EOF stands after the column definitions.
    DEPRECATE_EOF = 24;
    /// Column definitions may be left out.
    OPTIONAL_RESULTSET_METADATA = 25;
    /// zstd compression.
    ZSTD = 26;
    /// Statements carry attributes.
    QUERY_ATTRIBUTES = 27;
    /// More than one factor of authentication.
    MULTI_FACTOR = 28;
    /// Reserved for one more word of flags.
    EXTENSION = 29;
    /// Client only: the certificate is to be verified.
    SSL_VERIFY_SERVER_CERT = 30;
    /// Client only: options survive a failed connect.
    REMEMBER_OPTIONS = 31;
}

impl Capabilities {
    /// Every flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set less the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both have.
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(NAMES.iter().filter(|(_, flag)| self.has(*flag)).map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let php = Capabilities(0x001a_a285);
        assert!(php.has(Capabilities::PLUGIN_AUTH.with(Capabilities::CONNECT_ATTRS)));
        assert!(!php.has(Capabilities::DEPRECATE_EOF.with(Capabilities::PLUGIN_AUTH)));
        assert!(!php.without(Capabilities::PLUGIN_AUTH).has(Capabilities::PLUGIN_AUTH));
        assert_eq!(php.intersect(Capabilities::LOCAL_FILES), Capabilities::LOCAL_FILES);
        assert_eq!(
            format!("{:?}", Capabilities(0x0100_0001)),
            r#"["LONG_PASSWORD", "DEPRECATE_EOF"]"#
        );
        assert_eq!(NAMES.iter().fold(0, |all, (_, flag)| all | flag.0), u32::MAX);
    }
}
