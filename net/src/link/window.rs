//! How much may be on its way to a peer: the library's default control (CUBIC), but never less than a floor.
//!
//! On a long way packets are lost now and then without anything being full. CUBIC takes each loss for a full queue, so with 5 % of loss it ends at a
//! few packets a round trip, and votes wait for seconds behind batches. BBR, which does not, gave a tenth less on one machine. Validators are few and
//! their links are made for this traffic, so a floor is fair to others: [`FLOOR_BYTES`] for each peer and round trip.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Bytes that may always be on their way to a peer: at 200 ms of round trip 2.6 MB, or 14,000 transfers, a second.
pub(crate) const FLOOR_BYTES: u64 = 512 * 1024;

/// Makes [`Floored`] controls.
#[derive(Debug, Default)]
pub(crate) struct FlooredConfig {
    cubic: Arc<CubicConfig>,
}

impl ControllerFactory for FlooredConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Floored(self.cubic.clone().build(now, current_mtu)))
    }
}

/// See the module's text.
struct Floored(Box<dyn Controller>);

impl Controller for Floored {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.0.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.0.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.0.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.0.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.0.window().max(FLOOR_BYTES)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.0.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self(self.0.clone_box()))
    }

    fn initial_window(&self) -> u64 {
        self.0.initial_window().max(FLOOR_BYTES)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MTU: u16 = 1_200;

    #[test]
    fn losses_never_bring_the_window_below_the_floor() {
        let start = Instant::now();
        let mut control = Arc::new(FlooredConfig::default()).build(start, MTU);
        assert_eq!((control.initial_window(), control.window()), (FLOOR_BYTES, FLOOR_BYTES));
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            control.on_congestion_event(now, now, second % 10 == 0, u64::from(MTU));
            assert_eq!(control.window(), FLOOR_BYTES);
            assert_eq!(control.clone_box().metrics().congestion_window, FLOOR_BYTES);
        }
    }
}
