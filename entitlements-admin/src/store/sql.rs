//! Every SQL statement, once.
//!
//! `SQLite` numbers `$1`, `$2`, … by the order in which they appear, `PostgreSQL` by the digits. So
//! the digits must appear in order; a test below sees to it.

macro_rules! statements {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: &str = $text;)*
        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}

statements! {
    META_GET = "SELECT value FROM meta WHERE name = $1";
    META_PUT = "INSERT INTO meta (name, value) VALUES ($1, $2)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value";

    COUNTER_GET = "SELECT value FROM counter WHERE name = $1";
    COUNTER_NEXT = "UPDATE counter SET value = value + 1 WHERE name = $1 RETURNING value";

    CATALOG_GET = "SELECT json, revision FROM catalog WHERE id = 1";
    CATALOG_PUT = "INSERT INTO catalog (id, json, revision) VALUES (1, $1, $2)
                   ON CONFLICT (id) DO UPDATE SET json = excluded.json, revision = excluded.revision";
    CATALOG_HISTORY_PUT = "INSERT INTO catalog_history (revision, at, json) VALUES ($1, $2, $3)";
    CATALOG_HISTORY_LIST = "SELECT revision, json FROM catalog_history ORDER BY revision";

    TENANT_GET = "SELECT json, revision FROM tenant WHERE key = $1";
    TENANT_PUT = "INSERT INTO tenant (key, json, revision) VALUES ($1, $2, $3)
                  ON CONFLICT (key) DO UPDATE SET json = excluded.json, revision = excluded.revision";
    TENANT_DELETE = "DELETE FROM tenant WHERE key = $1";
    TENANT_LIST = "SELECT key, json, revision FROM tenant WHERE key > $1 ORDER BY key LIMIT $2";
    TENANT_ALL = "SELECT key, json, revision FROM tenant ORDER BY key";

    TOKEN_PUT = "INSERT INTO token (id, label, scope, secret_hash, created_at, revision)
                 VALUES ($1, $2, $3, $4, $5, $6)";
    TOKEN_GET = "SELECT id, label, scope, secret_hash, created_at FROM token WHERE id = $1";
    TOKEN_DELETE = "DELETE FROM token WHERE id = $1";
    TOKEN_ALL = "SELECT id, label, scope, secret_hash, created_at FROM token ORDER BY created_at, id";
    TOKEN_ADMINS = "SELECT count(*) FROM token WHERE scope = 'admin'";

    AUDIT_LAST = "SELECT revision, hash FROM audit ORDER BY revision DESC LIMIT 1";
    AUDIT_PUT = "INSERT INTO audit
                 (revision, at, actor, command, subject, before, after, prev_hash, hash)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    AUDIT_LIST = "SELECT revision, at, actor, command, subject,
                         CASE WHEN length(before) > $1 THEN NULL ELSE before END,
                         CASE WHEN length(after) > $1 THEN NULL ELSE after END,
                         coalesce(length(before), 0) > $1 OR coalesce(length(after), 0) > $1,
                         hash
                  FROM audit WHERE revision > $2 ORDER BY revision LIMIT $3";
    AUDIT_GET = "SELECT revision, at, actor, command, subject, before, after, FALSE, hash
                 FROM audit WHERE revision = $1";
    AUDIT_ALL = "SELECT revision, at, actor, command, subject, before, after, prev_hash, hash
                 FROM audit ORDER BY revision";

    MIGRATION_TABLE = "CREATE TABLE IF NOT EXISTS migration (
                           number     BIGINT PRIMARY KEY,
                           name       TEXT NOT NULL,
                           checksum   TEXT NOT NULL,
                           applied_at BIGINT NOT NULL
                       )";
    MIGRATION_ALL = "SELECT number, name, checksum FROM migration ORDER BY number";
    MIGRATION_PUT = "INSERT INTO migration (number, name, checksum, applied_at)
                     VALUES ($1, $2, $3, $4)";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    /// The parameters in the order in which each is first used.
    fn first_uses(text: &str) -> Vec<usize> {
        let numbers = text.split('$').skip(1).map(|rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        });
        let mut seen = Vec::new();
        for number in numbers {
            if !seen.contains(&number) {
                seen.push(number);
            }
        }
        seen
    }

    #[test]
    fn parameters_appear_in_the_order_of_their_numbers() {
        for (name, text) in ALL {
            let used = first_uses(text);
            assert_eq!(used, (1..=used.len()).collect::<Vec<_>>(), "{name}: {text}");
        }
        assert_eq!(first_uses("a = $2 AND b = $1 AND c = $2"), [2, 1], "the test itself sees it");
    }

    #[test]
    fn no_statement_binds_by_question_mark() {
        assert!(ALL.iter().all(|(_, text)| !text.contains('?')));
    }
}
