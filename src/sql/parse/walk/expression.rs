//! Expressions, calls and windows, on their way to the subqueries inside them.
//!
//! Called by `walk`.

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr,
    GroupByWithModifier, NamedWindowDefinition, NamedWindowExpr, OrderByExpr, OrderBySort,
    UnaryOperator, WindowFrameBound, WindowSpec, WindowType,
};

use super::{Walk, Walked};
use crate::sql::function::{self, Call};

impl Walk {
    pub(super) fn expressions(&mut self, list: &[Expr]) -> Walked {
        list.iter().try_for_each(|expr| self.expression(expr))
    }

    pub(super) fn optional(&mut self, expr: Option<&Expr>) -> Walked {
        expr.map_or(Ok(()), |expr| self.expression(expr))
    }

    pub(super) fn expression(&mut self, expr: &Expr) -> Walked {
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::MatchAgainst { .. } => Ok(()),
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner)
            | Expr::Collate { expr: inner, .. }
            | Expr::Prefixed { value: inner, .. }
            | Expr::Cast { kind: CastKind::Cast, expr: inner, .. }
            | Expr::Extract { expr: inner, .. } => self.expression(inner),
            Expr::UnaryOp { op, expr } => self.unary(op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                self.expression(left)?;
                self.expression(right)
            }
            Expr::InList { expr, list, .. } => {
                self.expression(expr)?;
                self.expressions(list)
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.expression(expr)?;
                self.query(subquery)
            }
            Expr::Between { expr, low, high, .. } => {
                self.expression(expr)?;
                self.expression(low)?;
                self.expression(high)
            }
            Expr::Like { any: false, expr, pattern, escape_char, .. } => {
                self.expression(expr)?;
                self.expression(pattern)?;
                self.optional(escape_char.as_deref())
            }
            Expr::RLike { expr, pattern, .. } => {
                self.expression(expr)?;
                self.expression(pattern)
            }
            Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => self.query(subquery),
            Expr::Tuple(list) => self.expressions(list),
            _ => self.special(expr),
        }
    }

    /// Nodes that are functions with a syntax of their own.
    fn special(&mut self, expr: &Expr) -> Walked {
        match expr {
            Expr::Function(function) => self.function(function),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.optional(operand.as_deref())?;
                for when in conditions {
                    self.expression(&when.condition)?;
                    self.expression(&when.result)?;
                }
                self.optional(else_result.as_deref())
            }
            Expr::Convert { is_try: false, expr, styles, .. } => {
                self.expression(expr)?;
                self.expressions(styles)
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) }
            | Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => self.expression(expr),
            Expr::Position { expr, r#in } => {
                self.expression(expr)?;
                self.expression(r#in)
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.expression(expr)?;
                self.optional(substring_from.as_deref())?;
                self.optional(substring_for.as_deref())
            }
            Expr::Trim { trim_what, expr, trim_characters: None, .. } => {
                self.optional(trim_what.as_deref())?;
                self.expression(expr)
            }
            Expr::Interval(interval) => self.expression(&interval.value),
            Expr::Rollup(sets) => sets.iter().try_for_each(|set| self.expressions(set)),
            _ => Err("an expression that the walk does not know"),
        }
    }

    fn unary(&mut self, op: &UnaryOperator, expr: &Expr) -> Walked {
        match op {
            UnaryOperator::BangNot
            | UnaryOperator::BitwiseNot
            | UnaryOperator::Plus
            | UnaryOperator::Minus
            | UnaryOperator::Not => self.expression(expr),
            _ => Err("an odd operator"),
        }
    }

    /// Down the left side in a loop: `a OR b OR ...` is as deep as it is long.
    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Walked {
        let (mut left, mut op, mut right) = (left, op, right);
        loop {
            known_operator(op)?;
            self.expression(right)?;
            match left {
                Expr::BinaryOp { left: inner, op: inner_op, right: inner_right } => {
                    (left, op, right) = (inner, inner_op, inner_right);
                }
                _ => return self.expression(left),
            }
        }
    }

    fn function(&mut self, function: &Function) -> Walked {
        let name = match function.name.0.as_slice() {
            [part] => part.as_ident().filter(|name| name.quote_style.is_none()),
            _ => None,
        };
        let call = name.map_or(Call::Unknown, |name| function::look_up(name.value.as_bytes()));
        let known = match call {
            Call::Pure | Call::PureReserved => true,
            Call::Window => function.over.is_some(),
            Call::Effect(_) => !self.plain,
            _ => false,
        };
        let odd = function.uses_odbc_syntax
            || function.filter.is_some()
            || !function.within_group.is_empty()
            || !matches!(function.parameters, FunctionArguments::None);
        if !known || odd {
            return Err("the parser sees a call that is not a pure built-in");
        }
        match &function.over {
            None | Some(WindowType::NamedWindow(_)) => {}
            Some(WindowType::WindowSpec(window)) => self.window(window)?,
        }
        match &function.args {
            FunctionArguments::None => Ok(()),
            FunctionArguments::Subquery(query) => self.query(query),
            FunctionArguments::List(list) => self.arguments(list),
        }
    }

    fn arguments(&mut self, list: &FunctionArgumentList) -> Walked {
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expression(expr)?,
                FunctionArg::Unnamed(
                    FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_),
                ) => {}
                _ => return Err("an odd argument"),
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(order) => self.order_list(order)?,
                FunctionArgumentClause::Limit(limit) => self.expression(limit)?,
                FunctionArgumentClause::Separator(_)
                | FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                _ => return Err("an odd argument"),
            }
        }
        Ok(())
    }

    pub(super) fn order_list(&mut self, list: &[OrderByExpr]) -> Walked {
        for order in list {
            if order.with_fill.is_some()
                || matches!(order.options.sort, Some(OrderBySort::Using(_)))
            {
                return Err("an odd ORDER BY");
            }
            self.expression(&order.expr)?;
        }
        Ok(())
    }

    pub(super) fn group(&mut self, group: &GroupByExpr) -> Walked {
        match group {
            GroupByExpr::Expressions(list, modifiers)
                if modifiers.iter().all(|modifier| *modifier == GroupByWithModifier::Rollup) =>
            {
                self.expressions(list)
            }
            _ => Err("an odd GROUP BY"),
        }
    }

    pub(super) fn named_window(&mut self, window: &NamedWindowDefinition) -> Walked {
        match &window.1 {
            NamedWindowExpr::NamedWindow(_) => Ok(()),
            NamedWindowExpr::WindowSpec(window) => self.window(window),
        }
    }

    fn window(&mut self, window: &WindowSpec) -> Walked {
        self.expressions(&window.partition_by)?;
        self.order_list(&window.order_by)?;
        let Some(frame) = &window.window_frame else { return Ok(()) };
        for bound in [Some(&frame.start_bound), frame.end_bound.as_ref()].into_iter().flatten() {
            match bound {
                WindowFrameBound::CurrentRow => {}
                WindowFrameBound::Preceding(expr) | WindowFrameBound::Following(expr) => {
                    self.optional(expr.as_deref())?;
                }
            }
        }
        Ok(())
    }
}

fn known_operator(op: &BinaryOperator) -> Walked {
    match op {
        BinaryOperator::Plus
        | BinaryOperator::Minus
        | BinaryOperator::Multiply
        | BinaryOperator::Divide
        | BinaryOperator::Modulo
        | BinaryOperator::StringConcat
        | BinaryOperator::Gt
        | BinaryOperator::Lt
        | BinaryOperator::GtEq
        | BinaryOperator::LtEq
        | BinaryOperator::Spaceship
        | BinaryOperator::Eq
        | BinaryOperator::NotEq
        | BinaryOperator::And
        | BinaryOperator::Or
        | BinaryOperator::Xor
        | BinaryOperator::BitwiseOr
        | BinaryOperator::BitwiseAnd
        | BinaryOperator::BitwiseXor
        | BinaryOperator::MyIntegerDivide
        | BinaryOperator::Regexp
        | BinaryOperator::PGOverlap
        | BinaryOperator::PGBitwiseShiftLeft
        | BinaryOperator::PGBitwiseShiftRight
        | BinaryOperator::Arrow
        | BinaryOperator::LongArrow => Ok(()),
        _ => Err("an odd operator"),
    }
}
