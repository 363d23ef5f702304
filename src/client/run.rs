//! One statement on one connection: brings it to the session's state, moves the bytes, notes
//! what the connection is now.
//!
//! What came of it is judged by `client::serve`, which alone calls it and tries again elsewhere.

use crate::backend::dial::SHARED;
use crate::backend::pool::Lease;
use crate::backend::query::put_query;
use crate::backend::setup::{Steps, Wanted, note_steps, put_held_steps, put_steps};
use crate::client::lease::{insert_id_of, tells_state};
use crate::client::local_file::may_be_asked_for;
use crate::client::relay::{Buffers, Exchange, Message, Moved};
use crate::client::serve::Conversation;
use crate::client::statement::Call;
use crate::session::hold::Hold;
use crate::session::observe::Said;
use crate::session::plan::{Forward, Kind, Needs};
use crate::sql::Effects;
use crate::wire::command::Command;
use crate::wire::reply::{End, Expect, Shape};

impl Conversation {
    /// Brings the lease to the session's state and moves the bytes.
    pub(super) async fn run(
        &mut self,
        it: &Forward,
        lease: &mut Lease,
        said: Said<'_>,
        message: &mut Message<'_>,
        buffers: &mut Buffers,
    ) -> Moved {
        let (it, steps) = match self.set_up(*it, lease, said, message, buffers).await {
            Ok(ready) => ready,
            Err(moved) => return moved,
        };
        let it = &it;
        if lease.stream.is_readable_now() {
            // It said good-bye while nobody listened: nothing was sent, nothing happened.
            return Moved::nothing();
        }
        let shape = Shape { backend: lease.capabilities, client: self.capabilities };
        self.walker.reset(it.expect, shape);
        self.walker.assume_status(self.session.status());
        let is_read = it.kind == Kind::Read;
        self.in_flight = !is_read && it.expect != Expect::Nothing;
        let call = self.call.as_deref();
        if let Some(id) = call.and_then(Call::prepares) {
            self.walker.present_statement_as(id);
        }
        let restated = self.restated(it, lease, said, steps);
        let restated = restated.or_else(|| self.without_attributes(lease, message));
        let bytes = restated.as_deref().unwrap_or(call.map_or(message.bytes, Call::bytes));
        let mut outgoing = Message { bytes, rest: message.rest };
        let mut moved = Moved::nothing();
        Exchange {
            client: &mut self.client,
            server: &mut *lease,
            buffers,
            walker: &mut self.walker,
            setup_replies: steps.replies,
            pipelined: is_read && message.rest.is_none(),
            asks_file: matches!(said, Said::Statement(it, _)
                if may_be_asked_for(it, self.capabilities)),
            watches: is_read && message.rest.is_none(),
            answers: it.expect != Expect::Nothing,
            seat: &self.seat,
            begins: &mut self.begins,
        }
        .run(&mut outgoing, &mut moved)
        .await;
        message.rest = outgoing.rest;
        self.in_flight = false;
        if moved.setup_refused.is_none() {
            let wanted = self.wanted(it, lease);
            note_steps(lease, &wanted, steps);
            let failed = matches!(self.walker.summary().end, Some(End::Err { .. }));
            match said {
                Said::Command(Command::SetOption(0)) => lease.multi_statements = true,
                Said::Command(Command::SetOption(1)) if !failed => lease.multi_statements = false,
                _ => {}
            }
            let undisturbed = steps.replies == 0 && lease.owner() == self.session.id;
            self.session.note_sent(said, (lease.server(), lease.thread_id), undisturbed);
            lease.own(self.session.id);
            // A statement that was only prepared has left nothing behind, but a variable that it names.
            let is_prepared =
                matches!(said, Said::Prepare(it) if !it.effects.has(Effects::USER_VARIABLE));
            lease.clean &= is_prepared;
            let named = matches!(said, Said::Command(Command::InitDb(_)));
            if named || !self.walker.summary().tracked.is_empty() {
                self.session.note_on(said, self.walker.summary(), &mut lease.values);
            }
        }
        moved
    }

    /// The packet that asks what the statement before it left, for a connection that does not know.
    fn restated(
        &self,
        it: &Forward,
        lease: &Lease,
        said: Said<'_>,
        steps: Steps,
    ) -> Option<Vec<u8>> {
        let Said::Statement(statement, text) = said else { return None };
        // What is sent in front is a statement too, and leaves its own.
        let elsewhere = (it.needs.own && lease.owner() != self.session.id)
            || steps.replies > 0
            || self.session.counted_elsewhere(statement.effects);
        if !elsewhere || self.call.is_some() {
            return None;
        }
        let text = self.session.restated(text)?;
        let mut packet = Vec::new();
        put_query(&mut packet, lease.capabilities, &text);
        Some(packet)
    }

    /// What has to be sent in front of the statement, and what it then needs. `Err`: it cannot be
    /// sent here.
    async fn set_up(
        &mut self,
        mut it: Forward,
        lease: &mut Lease,
        said: Said<'_>,
        message: &mut Message<'_>,
        buffers: &mut Buffers,
    ) -> Result<(Forward, Steps), Moved> {
        buffers.flight.clear();
        if !self.session.owes(said).is_empty() {
            // Boxed: rare, and no idle session is to have room for it.
            it = Box::pin(self.pay(&it, lease, said)).await.map_err(|()| Moved::nothing())?;
        }
        if it.held && self.session.values().database.is_none() && lease.values.database.is_some() {
            // Another session's: nothing but a new connection would take that away.
            return Err(Moved::nothing());
        }
        let mut steps = match it.held {
            true => {
                let id = self.session.insert_id();
                put_held_steps(&mut buffers.flight, lease, it.needs, id)
            }
            false => match self.put_steps(&it, lease, &mut buffers.flight) {
                Some(steps) => steps,
                // Boxed: rare as well.
                None => Box::pin(self.put_odd_steps(&it, lease, &mut buffers.flight))
                    .await
                    .map_err(|()| Moved::nothing())?,
            },
        };
        if self.call.is_some() {
            let ready = Box::pin(self.ready(&it, lease, &mut steps, message, buffers)).await;
            if let Some(moved) = ready {
                return Err(moved);
            }
        }
        Ok((it, steps))
    }

    pub(super) fn wanted(&self, it: &Forward, lease: &Lease) -> Wanted<'_> {
        // What is set there holds the connection, and another session's schema would stay on it.
        let any_database =
            it.needs.any_database && (it.kind != Kind::Setting || tells_state(lease));
        Wanted {
            values: self.session.values(),
            needs: Needs { any_database, ..it.needs },
            insert_id: self.session.insert_id(),
            is_owner: lease.owner() == self.session.id,
        }
    }

    /// None: a reset would take the session's own insert id, or only a new connection will do.
    fn put_steps(&self, it: &Forward, lease: &mut Lease, flight: &mut Vec<u8>) -> Option<Steps> {
        let recipe = lease.pool().recipe(lease.is_reader);
        let baseline = self.house.fleet.ways.baseline.load();
        let wanted = self.wanted(it, lease);
        let steps = put_steps(flight, lease, &wanted, &recipe, baseline.as_deref());
        let has_id = !lease.is_reader && self.session.holds().has(Hold::InsertId);
        let is_odd = steps.fresh || (has_id && steps.resets.is_some());
        (!is_odd).then_some(steps)
    }

    async fn put_odd_steps(
        &mut self,
        it: &Forward,
        lease: &mut Lease,
        flight: &mut Vec<u8>,
    ) -> Result<Steps, ()> {
        flight.clear();
        let recipe = lease.pool().recipe(lease.is_reader);
        let baseline = self.house.fleet.baseline();
        let baseline = baseline.as_deref();
        let mut steps = put_steps(flight, lease, &self.wanted(it, lease), &recipe, baseline);
        let has_id = !lease.is_reader && self.session.holds().has(Hold::InsertId);
        if has_id && (steps.resets.is_some() || steps.fresh) {
            // It is the session's own connection, and the reset would take the id.
            let id = insert_id_of(lease).await.ok_or(())?;
            self.session.keep_insert_id(id);
            flight.clear();
            steps = put_steps(flight, lease, &self.wanted(it, lease), &recipe, baseline);
        }
        if !steps.fresh {
            return Ok(steps);
        }
        let shared = self.capabilities.intersect(SHARED);
        let renewing = lease.renew(&self.credentials, shared, self.lease_deadline());
        let renewed = Box::pin(renewing).await;
        renewed.map_err(|error| tracing::debug!(%error, "cannot log in anew"))?;
        self.seat.move_to(lease.server(), lease.thread_id);
        Ok(put_steps(flight, lease, &self.wanted(it, lease), &recipe, baseline))
    }
}
