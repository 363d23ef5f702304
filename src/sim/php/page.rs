//! What a client does on one page: wpdb's preamble, then whatever the seed says.
//!
//! Every step knows the answer that it must get.

use super::visit::{Meaning, Over, Reply, Visit};
use crate::sim::mysql::set_names;
use crate::sim::store::{ITEMS, Place, SCHEMAS, Table};
use crate::wire::reply::Expect;

const COM_QUIT: u8 = 1;
const COM_INIT_DB: u8 = 2;
const COM_QUERY: u8 = 3;
const COM_PING: u8 = 14;
const COM_RESET_CONNECTION: u8 = 31;

impl Visit {
    /// All of a page. `Err`: it is over before its end.
    pub(super) async fn page(&mut self) -> Result<(), Over> {
        self.preamble().await?;
        for _ in 0..self.random.between(1, 10) {
            let act = self.random.between(0, 99);
            match if self.oracle.is_quiet_time() { 0 } else { act } {
                0..=54 => self.read().await?,
                55..=66 => drop(self.write().await?),
                67..=73 => self.add().await?,
                74..=81 => self.transaction().await?,
                82..=83 => self.user_variable().await?,
                84 => self.lock().await?,
                85..=88 => self.change().await?,
                89..=93 => self.ask().await?,
                94..=95 => self.read_long().await?,
                96..=97 => self.reset().await?,
                _ => {
                    self.say_nothing_wrong(COM_PING, b"").await?;
                }
            }
            if self.random.chance(100) {
                let ms = self.random.between(1, 700);
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            }
        }
        self.leave().await;
        Ok(())
    }

    async fn leave(&mut self) {
        match self.random.between(0, 9) {
            // Gone in the middle of a write: nobody is told how that ended.
            0 if !self.oracle.is_quiet_time() => {
                let token = self.token();
                let place = self.place();
                self.send(COM_QUERY, self.update(place, &token).as_bytes()).await;
            }
            0 | 1 => {}
            _ => self.send(COM_QUIT, b"").await,
        }
    }

    async fn preamble(&mut self) -> Result<(), Over> {
        if self.random.chance(800) {
            let collate = self.random.chance(500);
            let text = match collate {
                true => "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci'",
                false => "SET NAMES 'utf8mb4'",
            };
            let reply = self.query(text).await?;
            if self.meaning(&reply) == Meaning::Done {
                set_names(&mut self.believed.variables, "utf8mb4");
                if collate {
                    let collation = "utf8mb4_general_ci".to_owned();
                    self.believed.variables.insert("collation_connection", collation);
                }
            }
            self.ask_mode().await?;
            self.set("sql_mode", "NO_ENGINE_SUBSTITUTION").await?;
        }
        if self.believed.database.is_none() {
            self.choose_database().await?;
        }
        Ok(())
    }

    async fn ask_mode(&mut self) -> Result<(), Over> {
        let reply = self.query("SELECT @@SESSION.sql_mode").await?;
        let value = self.believed.variables.get("sql_mode").cloned();
        self.expect(&reply, value);
        Ok(())
    }

    async fn set(&mut self, name: &'static str, value: &str) -> Result<(), Over> {
        let reply = self.query(&format!("SET SESSION {name}='{value}'")).await?;
        if self.meaning(&reply) == Meaning::Done {
            self.believed.variables.insert(name, value.to_owned());
        }
        Ok(())
    }

    /// Until it has one: without, nothing on the page makes sense.
    async fn choose_database(&mut self) -> Result<(), Over> {
        for _ in 0..50 {
            let name = self.random.pick(&SCHEMAS).unwrap_or(SCHEMAS[0]);
            if self.say_nothing_wrong(COM_INIT_DB, name.as_bytes()).await? {
                self.believed.database = Some(name);
                return Ok(());
            }
        }
        Err(Over)
    }

    /// A command that is answered by OK, or by an error that says it was not done.
    async fn say_nothing_wrong(&mut self, code: u8, body: &[u8]) -> Result<bool, Over> {
        let reply = self.command(code, body, Expect::Simple).await?;
        Ok(self.meaning(&reply) == Meaning::Done)
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("w{}x{}", self.number, self.tokens)
    }

    /// One of the rows that are always there, most likely in the current schema.
    fn place(&mut self) -> Place {
        let other = self.random.pick(&SCHEMAS).filter(|_| self.random.chance(200));
        let schema = other.or(self.believed.database).unwrap_or(SCHEMAS[0]);
        Place { schema, table: Table::Items, id: self.random.between(1, ITEMS) }
    }

    fn name(&self, place: Place) -> String {
        let table = place.table.name();
        match self.believed.database == Some(place.schema) {
            true => table.to_owned(),
            false => format!("{}.{table}", place.schema),
        }
    }

    fn update(&self, place: Place, token: &str) -> String {
        format!("UPDATE {} SET token = '{token}' WHERE id = {}", self.name(place), place.id)
    }

    /// One value, unless the answer is an error.
    fn expect(&mut self, reply: &Reply, value: Option<String>) {
        if self.meaning(reply) != Meaning::Done {
            return;
        }
        let got = reply.rows.first().and_then(|row| row.first());
        if got != Some(&value) {
            self.oracle.fail(&format!("c{} got {got:?}, not {value:?}", self.number));
        }
    }

    async fn read(&mut self) -> Result<(), Over> {
        let place = self.place();
        self.read_at(place, "", &[]).await.map(drop)
    }

    async fn read_at(&mut self, place: Place, lock: &str, own: &[String]) -> Result<Meaning, Over> {
        let floor = self.needs.floor(&self.oracle, place);
        let text = format!("SELECT token FROM {} WHERE id = {}{lock}", self.name(place), place.id);
        let reply = self.query(&text).await?;
        let meaning = self.meaning(&reply);
        if meaning == Meaning::Done {
            let token = reply.rows.first().and_then(|row| row.first()).cloned().flatten();
            self.oracle.saw(place, floor, token.as_deref(), own);
        }
        Ok(meaning)
    }

    async fn read_long(&mut self) -> Result<(), Over> {
        let place = self.place();
        let floor = self.needs.floor(&self.oracle, place);
        let text =
            format!("SELECT token, filling FROM {} WHERE id = {}", self.name(place), place.id);
        let reply = self.query(&text).await?;
        if self.meaning(&reply) == Meaning::Done {
            if reply.rows.len() != 400 {
                self.oracle.fail(&format!("c{}: {} rows of 400", self.number, reply.rows.len()));
            }
            let token = reply.rows.first().and_then(|row| row.first()).cloned().flatten();
            self.oracle.saw(place, floor, token.as_deref(), &[]);
        }
        Ok(())
    }

    /// A write by itself, and often a look at it.
    async fn write(&mut self) -> Result<Meaning, Over> {
        let (token, place) = (self.token(), self.place());
        let mut text = self.update(place, &token);
        if self.random.chance(60) {
            // Longer than what the proxy looks at.
            text = format!("{text} /* {} */", "long ".repeat(5000));
        }
        let reply = self.query(&text).await?;
        let meaning = self.told(&reply, &token);
        if self.random.chance(500) {
            self.read_at(place, "", &[]).await?;
        }
        Ok(meaning)
    }

    /// What was said about a write by itself goes to the oracle.
    fn told(&mut self, reply: &Reply, token: &str) -> Meaning {
        let meaning = self.meaning(reply);
        match meaning {
            Meaning::Done => self.acknowledged(token),
            Meaning::Unknown => self.oracle.count(|counts| counts.unknown += 1),
            Meaning::NotDone | Meaning::Cut => self.oracle.denied(token),
        }
        meaning
    }

    fn acknowledged(&mut self, token: &str) {
        if let Some((place, number)) = self.oracle.acknowledged(token) {
            self.needs.wrote(place, number);
        }
    }

    /// A new row, and what its id is said to be.
    async fn add(&mut self) -> Result<(), Over> {
        let token = self.token();
        let schema = self.believed.database.unwrap_or(SCHEMAS[0]);
        let reply = self.query(&format!("INSERT INTO notes (token) VALUES ('{token}')")).await?;
        if self.told(&reply, &token) != Meaning::Done {
            return Ok(());
        }
        let id = reply.summary.insert_id;
        self.insert_id = Some(id);
        if self.random.chance(500) {
            self.read_at(Place { schema, table: Table::Notes, id }, "", &[]).await?;
        }
        if self.random.chance(500) {
            self.ask_insert_id().await?;
        }
        Ok(())
    }

    async fn ask_insert_id(&mut self) -> Result<(), Over> {
        let reply = self.query("SELECT LAST_INSERT_ID()").await?;
        if let Some(id) = self.insert_id {
            self.expect(&reply, Some(id.to_string()));
        } else {
            self.meaning(&reply);
        }
        Ok(())
    }

    async fn transaction(&mut self) -> Result<(), Over> {
        let begin = self.random.pick(&["BEGIN", "START TRANSACTION"]).unwrap_or("BEGIN");
        let reply = self.query(begin).await?;
        if self.meaning(&reply) != Meaning::Done {
            return Ok(());
        }
        self.believed.in_transaction = true;
        self.needs.is_held = true;
        let mut own = Vec::new();
        for _ in 0..self.random.between(0, 4) {
            let place = self.place();
            let meaning = match self.random.between(0, 3) {
                0 => self.read_at(place, "", &own).await?,
                1 => self.read_at(place, " FOR UPDATE", &own).await?,
                _ => {
                    let token = self.token();
                    let reply = self.query(&self.update(place, &token)).await?;
                    own.push(token);
                    self.meaning(&reply)
                }
            };
            if meaning != Meaning::Done {
                return self.give_up(&own).await;
            }
        }
        if self.random.chance(100) {
            // PHP ends a script that died: the connection goes with the transaction.
            return Err(Over);
        }
        if self.random.chance(200) {
            return self.give_up(&own).await;
        }
        let reply = self.query("COMMIT").await?;
        match self.meaning(&reply) {
            Meaning::Done => own.iter().for_each(|token| self.acknowledged(token)),
            Meaning::Unknown => self.oracle.count(|counts| counts.unknown += own.len() as u64),
            Meaning::NotDone | Meaning::Cut => return self.give_up(&own).await,
        }
        self.end_transaction();
        Ok(())
    }

    fn end_transaction(&mut self) {
        self.believed.in_transaction = false;
        self.needs.is_held = false;
        self.needs.begin();
    }

    /// ROLLBACK, which must be heard whatever came before.
    async fn give_up(&mut self, own: &[String]) -> Result<(), Over> {
        let reply = self.query("ROLLBACK").await?;
        self.meaning(&reply);
        self.end_transaction();
        own.iter().for_each(|token| self.oracle.denied(token));
        Ok(())
    }

    async fn user_variable(&mut self) -> Result<(), Over> {
        let value = self.token();
        let reply = self.query(&format!("SET @mine = '{value}'")).await?;
        if self.meaning(&reply) != Meaning::Done {
            return Ok(());
        }
        if self.random.chance(500) {
            self.read().await?;
        }
        let reply = self.query("SELECT @mine").await?;
        // Whatever was said meanwhile: its own value, or an error.
        let sure = self.insert_id.is_some();
        if sure {
            self.expect(&reply, Some(value));
        } else {
            self.meaning(&reply);
        }
        Ok(())
    }

    async fn lock(&mut self) -> Result<(), Over> {
        let name = self.random.pick(&["cron", "stock"]).unwrap_or("cron");
        let reply = self.query(&format!("SELECT GET_LOCK('{name}', 0)")).await?;
        if self.meaning(&reply) != Meaning::Done {
            return Ok(());
        }
        let got = reply.rows.first().and_then(|row| row.first()).cloned().flatten();
        if got.as_deref() != Some("1") {
            return Ok(());
        }
        self.oracle.locked(name, self.number);
        self.needs.is_held = true;
        self.read().await?;
        self.needs.is_held = false;
        if self.random.chance(800) {
            self.oracle.unlocked(self.number);
            let reply = self.query(&format!("SELECT RELEASE_LOCK('{name}')")).await?;
            self.meaning(&reply);
        }
        Ok(())
    }

    /// The schema or a setting becomes another one.
    async fn change(&mut self) -> Result<(), Over> {
        match self.random.between(0, 3) {
            0 => self.choose_database().await,
            1 => {
                let name = self.random.pick(&SCHEMAS).unwrap_or(SCHEMAS[0]);
                let reply = self.query(&format!("USE {name}")).await?;
                if self.meaning(&reply) == Meaning::Done {
                    self.believed.database = Some(name);
                }
                Ok(())
            }
            2 => {
                let zone = self.random.pick(&["+00:00", "+01:00", "SYSTEM"]).unwrap_or("SYSTEM");
                self.set("time_zone", zone).await
            }
            _ => {
                let modes = ["", "STRICT_TRANS_TABLES", "ANSI_QUOTES"];
                let mode = self.random.pick(&modes).unwrap_or_default();
                self.set("sql_mode", mode).await
            }
        }
    }

    /// What the session is asked about itself.
    async fn ask(&mut self) -> Result<(), Over> {
        match self.random.between(0, 2) {
            0 => self.ask_mode().await,
            1 => {
                let reply = self.query("SELECT DATABASE()").await?;
                let name = self.believed.database.map(str::to_owned);
                self.expect(&reply, name);
                Ok(())
            }
            _ => self.ask_insert_id().await,
        }
    }

    async fn reset(&mut self) -> Result<(), Over> {
        self.oracle.unlocked(self.number);
        if self.say_nothing_wrong(COM_RESET_CONNECTION, b"").await? {
            self.needs.begin();
            self.believed.variables.clone_from(&self.reset);
            self.insert_id = Some(0);
        }
        Ok(())
    }
}
