//! The walk over sqlparser's tree: every listed node is looked into, any other is a refusal.
//!
//! Names of a WITH hide tables of that name only where the WITH reaches. Called by `parse`.

use sqlparser::ast::{
    Delete, FromTable, Ident, Insert, JoinConstraint, JoinOperator, LimitClause, ObjectName,
    OnInsert, OrderBy, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableFactor, TableObject, TableWithJoins, Update, With,
};

use super::Tables;
use crate::sql::Table;

mod expression;

/// The tables of a query, in the order in which they are met, each once.
pub(super) fn query(query: &Query) -> Result<Vec<Table>, &'static str> {
    let mut walk = Walk { plain: true, ..Walk::default() };
    walk.query(query)?;
    Ok(walk.tables)
}

/// INSERT and REPLACE.
pub(super) fn insert(insert: &Insert) -> Result<Tables, &'static str> {
    let TableObject::TableName(target) = &insert.table else { return Err("an odd target") };
    let mut walk = Walk::default();
    if let Some(source) = &insert.source {
        walk.query(source)?;
    }
    for assignment in &insert.assignments {
        walk.expression(&assignment.value)?;
    }
    match &insert.on {
        None => {}
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
            for assignment in assignments {
                walk.expression(&assignment.value)?;
            }
        }
        Some(_) => return Err("an odd ON"),
    }
    Ok(Tables { reads: walk.tables, writes: vec![table(target)?] })
}

/// UPDATE. Of several tables any may be written, so all count as written.
pub(super) fn update(update: &Update) -> Result<Tables, &'static str> {
    if update.from.is_some() {
        return Err("an odd UPDATE");
    }
    let mut walk = Walk::default();
    walk.joined(&update.table)?;
    let writes = std::mem::take(&mut walk.tables);
    for assignment in &update.assignments {
        walk.expression(&assignment.value)?;
    }
    walk.optional(update.selection.as_ref())?;
    Ok(Tables { reads: walk.tables, writes })
}

/// DELETE. As for UPDATE, all tables outside subqueries count as written.
pub(super) fn delete(delete: &Delete) -> Result<Tables, &'static str> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let mut walk = Walk::default();
    for tables in from.iter().chain(delete.using.iter().flatten()) {
        walk.joined(tables)?;
    }
    let writes = std::mem::take(&mut walk.tables);
    walk.optional(delete.selection.as_ref())?;
    Ok(Tables { reads: walk.tables, writes })
}

#[derive(Default)]
struct Walk {
    tables: Vec<Table>,
    /// Names that a WITH defines, innermost last.
    defined: Vec<String>,
    /// A plain read neither locks nor asks the connection; inside a write it may.
    plain: bool,
}

type Walked = Result<(), &'static str>;

impl Walk {
    fn query(&mut self, query: &Query) -> Walked {
        let odd = (self.plain && !query.locks.is_empty())
            || query.fetch.is_some()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if odd {
            return Err("the parser sees a lock or an odd clause");
        }
        let outer = self.defined.len();
        if let Some(with) = &query.with {
            self.with(with)?;
        }
        self.set(&query.body)?;
        if let Some(order) = &query.order_by {
            self.order(order)?;
        }
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                self.optional(limit.as_ref())?;
                self.optional(offset.as_ref().map(|offset| &offset.value))?;
                self.expressions(limit_by)?;
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.expression(offset)?;
                self.expression(limit)?;
            }
        }
        self.defined.truncate(outer);
        Ok(())
    }

    fn with(&mut self, with: &With) -> Walked {
        for cte in &with.cte_tables {
            if cte.from.is_some() || cte.materialized.is_some() {
                return Err("an odd WITH");
            }
            let name = cte.alias.name.value.to_lowercase();
            if with.recursive {
                self.defined.push(name);
                self.query(&cte.query)?;
            } else {
                self.query(&cte.query)?;
                self.defined.push(name);
            }
        }
        Ok(())
    }

    fn order(&mut self, order: &OrderBy) -> Walked {
        let OrderByKind::Expressions(list) = &order.kind else { return Err("an odd ORDER BY") };
        if order.interpolate.is_some() {
            return Err("an odd ORDER BY");
        }
        self.order_list(list)
    }

    fn set(&mut self, set: &SetExpr) -> Walked {
        match set {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.set(left)?;
                self.set(right)
            }
            SetExpr::Values(values) => values.rows.iter().try_for_each(|row| self.expressions(row)),
            _ => Err("the parser sees a write inside a query"),
        }
    }

    fn select(&mut self, select: &Select) -> Walked {
        let odd = select.top.is_some()
            || select.into.is_some()
            || select.exclude.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some();
        if odd {
            return Err("the parser sees INTO or an odd clause");
        }
        for item in &select.projection {
            self.item(item)?;
        }
        for tables in &select.from {
            self.joined(tables)?;
        }
        self.optional(select.selection.as_ref())?;
        self.group(&select.group_by)?;
        self.optional(select.having.as_ref())?;
        select.named_window.iter().try_for_each(|window| self.named_window(window))
    }

    fn item(&mut self, item: &SelectItem) -> Walked {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                self.expression(expr)
            }
            SelectItem::Wildcard(_)
            | SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _) => {
                Ok(())
            }
            _ => Err("an odd column"),
        }
    }

    fn joined(&mut self, tables: &TableWithJoins) -> Walked {
        self.factor(&tables.relation)?;
        for join in &tables.joins {
            self.factor(&join.relation)?;
            let constraint = match &join.join_operator {
                JoinOperator::Join(on)
                | JoinOperator::Inner(on)
                | JoinOperator::Left(on)
                | JoinOperator::LeftOuter(on)
                | JoinOperator::Right(on)
                | JoinOperator::RightOuter(on)
                | JoinOperator::CrossJoin(on)
                | JoinOperator::StraightJoin(on) => on,
                _ => return Err("an odd JOIN"),
            };
            match constraint {
                JoinConstraint::On(expr) => self.expression(expr)?,
                JoinConstraint::Using(_) | JoinConstraint::Natural | JoinConstraint::None => {}
            }
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor) -> Walked {
        match factor {
            TableFactor::Table {
                name,
                args: None,
                version: None,
                json_path: None,
                sample: None,
                with_ordinality: false,
                with_hints,
                ..
            } if with_hints.is_empty() => self.table(name),
            TableFactor::Derived { subquery, sample: None, .. } => self.query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.joined(table_with_joins),
            _ => Err("an odd table"),
        }
    }

    fn table(&mut self, name: &ObjectName) -> Walked {
        let table = table(name)?;
        let defined = table.schema.is_none() && self.defined.contains(&table.name.to_lowercase());
        let dual = table.schema.is_none() && table.name.eq_ignore_ascii_case("dual");
        if !defined && !dual && !self.tables.contains(&table) {
            self.tables.push(table);
        }
        Ok(())
    }
}

/// One name, or two with a dot.
fn table(name: &ObjectName) -> Result<Table, &'static str> {
    let part = |at: usize| name.0.get(at).and_then(|part| part.as_ident()).map(text);
    match (part(0), part(1), name.0.len()) {
        (Some(name), None, 1) => Ok(Table { schema: None, name }),
        (Some(schema), Some(name), 2) => Ok(Table { schema: Some(schema), name }),
        _ => Err("an odd name"),
    }
}

fn text(name: &Ident) -> String {
    name.value.clone()
}
