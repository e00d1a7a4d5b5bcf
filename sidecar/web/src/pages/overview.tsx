// Everything at a glance.

import { LatencyChart, ThroughputChart } from "../ui/charts";
import { Events } from "../ui/events";
import { Graph } from "../ui/graph";
import { PendingPanel } from "../ui/pending";
import { Pipeline } from "../ui/pipeline";
import { Validators } from "../ui/validators";

export function Overview() {
  return (
    <main class="overview" id="main" tabIndex={-1}>
      <h1 class="visually-hidden">Overview</h1>
      <div class="column">
        <Graph />
        <PendingPanel rows={20} />
      </div>
      <div class="column">
        <Pipeline />
        <ThroughputChart />
        <LatencyChart />
      </div>
      <div class="column">
        <Validators />
        <Events />
      </div>
    </main>
  );
}
