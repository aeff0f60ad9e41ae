//! Rates.
use crate::net::Parcel;
use crate::net::link::Stage;
use crate::world::State;
use std::num::NonZeroU64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShaperId(pub(crate) u32);

#[derive(Debug, Default)]
pub(crate) struct Shapers {}
impl Shapers {
    pub(crate) fn add(&mut self, _: NonZeroU64) -> ShaperId {
        ShaperId(0)
    }
}
impl State {
    pub(crate) fn shape(&mut self, _: ShaperId, parcel: Parcel, stage: Stage) {
        self.shaped(parcel, stage)
    }
    pub(crate) fn shaper_free(&mut self, _: ShaperId) {}
    pub(crate) fn shaper_retire(&mut self, _: Option<ShaperId>) {}
}
