//! The shared database: several control planes at once.

use std::{collections::HashMap, error::Error, fmt, sync::OnceLock, time::Duration};

use postgres::{
    Client, Config, Statement,
    fallible_iterator::FallibleIterator,
    types::{FromSql, IsNull, ToSql, Type, private::BytesMut},
};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::{Cell, Dialect, Mode, Row, Session, SqlError, Value};
use entitlements_outbound as client;

/// How long to wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// The channel on which commits are announced.
const CHANNEL: &str = "entitlements_commit";

/// A connection to a server.
pub(super) struct Postgres {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// Connects to `postgres://user@host/database`, with TLS where the server has it, or only then
    /// with `?sslmode=require`. Its certificate must be one that this machine trusts.
    pub(super) fn connect(url: &str) -> Result<Self, SqlError> {
        let mut config: Config = url.parse()?;
        config.connect_timeout(CONNECT_PATIENCE).application_name("entitlements-admin");
        let client = config.connect(MakeRustlsConnect::new(tls()?))?;
        Ok(Self { client, statements: HashMap::new() })
    }

    /// Returns once somebody commits, or after a while.
    pub(super) fn wait_for_commit(&mut self, patience: Duration) -> Result<(), SqlError> {
        self.client.batch_execute(&format!("LISTEN {CHANNEL}"))?;
        let mut told = self.client.notifications();
        told.timeout_iter(patience).next()?;
        // What came meanwhile is answered by the one look that follows.
        let mut more = told.iter();
        while more.next()?.is_some() {}
        Ok(())
    }

    fn prepared(&mut self, sql: &'static str) -> Result<Statement, SqlError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// How to speak TLS, as the rest of the control plane does. The certificates are read once.
fn tls() -> Result<rustls::ClientConfig, SqlError> {
    static TLS: OnceLock<Result<rustls::ClientConfig, String>> = OnceLock::new();
    let made = TLS.get_or_init(|| {
        let roots = client::roots(None).map_err(|error| error.to_string())?;
        client::tls(roots).map_err(|error| error.to_string())
    });
    made.clone().map_err(SqlError::Unavailable)
}

impl Session for Postgres {
    fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, SqlError> {
        let statement = self.prepared(sql)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
        Ok(self.client.execute(&statement, &values)?)
    }

    fn each(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        row: &mut dyn FnMut(Row) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let statement = self.prepared(sql)?;
        let mut rows = self.client.query_raw(&statement, values)?;
        while let Some(found) = rows.next()? {
            let cells = (0..found.len()).map(|column| Ok(found.try_get(column)?));
            row(Row::new(cells.collect::<Result<_, SqlError>>()?))?;
        }
        Ok(())
    }

    fn batch(&mut self, sql: &str) -> Result<(), SqlError> {
        Ok(self.client.batch_execute(sql)?)
    }

    fn begin(&mut self, mode: Mode) -> Result<(), SqlError> {
        self.batch(match mode {
            Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            // The first statement of a commit locks the counter, so commits come one by one and
            // each sees what the one before it wrote.
            Mode::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        })
    }

    fn announce(&mut self) -> Result<(), SqlError> {
        self.batch(&format!("NOTIFY {CHANNEL}"))
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT4 => {
                i32::try_from(*number)?.to_sql(kind, out)
            }
            Self::Integer(number) => number.to_sql(kind, out),
            Self::Text(text) => text.to_sql(kind, out),
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT4, Type::INT8, Type::TEXT, Type::BYTEA].contains(kind)
    }

    postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT8 => Self::Integer(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Integer(i32::from_sql(kind, raw)?.into()),
            Type::BOOL => Self::Integer(bool::from_sql(kind, raw)?.into()),
            Type::BYTEA => Self::Bytes(raw.into()),
            _ => Self::Text(String::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::BOOL, Type::BYTEA, Type::TEXT].contains(kind)
    }
}

impl From<postgres::Error> for SqlError {
    fn from(error: postgres::Error) -> Self {
        // The text of an error alone says only `db error`; what it is stands in its source.
        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Self::Unavailable(why)
    }
}
