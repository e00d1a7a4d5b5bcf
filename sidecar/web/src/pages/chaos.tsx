// Harm for a devnet, on purpose: each button really acts on its processes or links. Shown only with the devnet's token.

import { useState } from "preact/hooks";
import { act, type Action } from "../api/chaos";
import { reason } from "../api/http";
import { standing } from "../state/reduce";
import { useTopics } from "../state/store";
import { clock, plural } from "../util/format";
import type { IconName } from "../util/icons";
import { chaosToken, useValue } from "../util/value";
import { Empty, Icon, Panel } from "../ui/parts";
import { Events } from "../ui/events";
import { Graph } from "../ui/graph";

interface Entry {
  key: number;
  at: number;
  what: string;
  state: "runs" | "done" | "failed";
  says: string;
}

const LOG_MAX = 20;
const LATENCY_MAX_MS = 10_000;
let entries = 0;

export function Chaos() {
  const token = useValue(chaosToken);
  const state = useTopics("validators");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [milliseconds, setMilliseconds] = useState(200);
  const [log, setLog] = useState<Entry[]>([]);
  const ids = [...state.validators.keys()].sort();
  const targets = ids.filter((id) => chosen.has(id));
  const busy = log.some((entry) => entry.state === "runs");
  if (!token) {
    return (
      <main class="page" id="main" tabIndex={-1}>
        <Panel title="Chaos">
          <Empty>Only a devnet can be harmed, and only from the address that <code>tana start</code> prints.</Empty>
        </Panel>
      </main>
    );
  }

  const run = async (what: string, actions: Action[]) => {
    for (const action of actions) {
      const whom = "validatorId" in action.body ? ` ${action.body.validatorId}` : "";
      const entry: Entry = { key: ++entries, at: Date.now(), what: `${what}${whom}`, state: "runs", says: "" };
      setLog((old) => [entry, ...old].slice(0, LOG_MAX));
      const settle = (change: Partial<Entry>) => setLog((old) => old.map((other) => (other.key === entry.key ? { ...other, ...change } : other)));
      try {
        settle({ says: await act(token, action), state: "done" });
      } catch (error) {
        settle({ says: reason(error), state: "failed" });
      }
    }
  };
  const each = (make: (validatorId: string) => Action) => targets.map(make);
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  const button = (icon: IconName, words: string, says: string, actions: Action[], few = targets.length === 0) => (
    <button type="button" class="chaos-button" disabled={few || busy} onClick={() => void run(words.toLowerCase(), actions)}>
      <Icon name={icon} size={18} />
      <b>{words}</b>
      <span>{says}</span>
    </button>
  );
  return (
    <main class="overview chaos-page" id="main" tabIndex={-1}>
      <h1 class="visually-hidden">Chaos</h1>
      <div class="column">
        <Graph />
      </div>
      <div class="column">
        <Panel title="Chaos" id="chaos" aside={<span class="muted">this devnet's processes and links, really</span>}>
          <fieldset class="targets">
            <legend>{targets.length === 0 ? "Choose validators" : plural(targets.length, "validator")}</legend>
            {ids.map((id) => {
              const validator = state.validators.get(id);
              const tone = validator ? { leader: "amber", healthy: "green", unhealthy: "red", offline: "red" }[standing(validator)] : "grey";
              return (
                <label key={id} class={chosen.has(id) ? "target chosen" : "target"}>
                  <input type="checkbox" checked={chosen.has(id)} onChange={() => toggle(id)} />
                  <i class={`dot ${tone}`} />
                  <span class="mono">{id}</span>
                </label>
              );
            })}
          </fieldset>
          <div class="chaos-buttons">
            {button("cross", "Kill", "end the process", each((validatorId) => ({ path: "kill-validator", body: { validatorId } })))}
            {button(
              "scissors",
              "Partition",
              "cut off from the others",
              [{ path: "network-partition", body: { validatorIds: targets } }],
              targets.length === 0 || targets.length === ids.length,
            )}
            {button("zap", "Corrupt", "change stored bytes", each((validatorId) => ({ path: "corrupt-data", body: { validatorId } })))}
            {button("mask", "Byzantine", "break the rules", each((validatorId) => ({ path: "byzantine-behavior", body: { validatorId } })))}
            <div class="lag">
              {button("clock", "Lag", `slow links by ${milliseconds} ms`, each((validatorId) => ({ path: "inject-latency", body: { validatorId, latencyMs: milliseconds } })))}
              <label>
                <span class="visually-hidden">Milliseconds</span>
                <input
                  type="number"
                  min={0}
                  max={LATENCY_MAX_MS}
                  step={50}
                  value={milliseconds}
                  onInput={(event) => setMilliseconds(Math.min(LATENCY_MAX_MS, Math.max(0, Math.round(Number((event.currentTarget as HTMLInputElement).value) || 0))))}
                />
                ms
              </label>
            </div>
            {button("heart", "Recover", "make everything well", [{ path: "recover-all", body: {} }], false)}
          </div>
        </Panel>
        <Panel title="Done" id="chaos-log" flush>
          {log.length === 0 && <Empty>Nothing yet.</Empty>}
          <ol class="rows" aria-live="polite">
            {log.map((entry) => (
              <li key={entry.key} class={`event chaos-entry ${entry.state}`}>
                <span class={`event-icon ${entry.state === "failed" ? "red" : entry.state === "done" ? "green" : "grey"}`}>
                  <Icon name={entry.state === "failed" ? "cross" : entry.state === "done" ? "check" : "clock"} size={14} />
                </span>
                <span class="event-words">
                  <b>{entry.what}</b> <span class="muted">{entry.state === "runs" ? "…" : entry.says}</span>
                </span>
                <time class="muted mono">{clock(entry.at)}</time>
              </li>
            ))}
          </ol>
        </Panel>
      </div>
      <div class="column">
        <Events />
      </div>
    </main>
  );
}
