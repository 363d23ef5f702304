//! ledger
/// stub
#[derive(Debug)]
pub struct Ledger;
