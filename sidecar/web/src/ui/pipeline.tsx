// The pipeline as its stages, each with what it does with its time, so that the one that holds up the others is seen at once.

import type { Stage, Validator } from "../state/frame";
import { ALL } from "../state/history";
import { useTopics } from "../state/store";
import { percent, short } from "../util/format";
import { selected, useValue } from "../util/value";
import { Empty, Icon, Panel } from "./parts";

/** What each stage does, for who has not read the architecture. */
const WHAT: Record<string, string> = {
  ingest: "takes transactions in and asks what needs no signature check",
  intake: "takes transactions in and asks what needs no signature check",
  verify: "checks signatures",
  lane: "seals batches",
  order: "makes blocks and agrees on them",
  execute: "changes the state",
  root: "hashes the changed accounts into the tree",
  commit: "publishes what is durable",
};

/** A stage that works at least so much of its time, or holds up those before it, is called a bottleneck; else the busiest is only that. */
const BOTTLENECK_SHARE = 0.7;
const HELD_SHARE = 0.2;

/** One entry a stage: several threads of one name become their mean, and their rates a sum. */
export function mergeStages(stages: Stage[]): Stage[] {
  const merged = new Map<string, { stage: Stage; threads: number }>();
  for (const stage of stages) {
    const old = merged.get(stage.name);
    if (!old) {
      merged.set(stage.name, { stage: { ...stage }, threads: 1 });
      continue;
    }
    const mean = (a: number, b: number) => (a * old.threads + b) / (old.threads + 1);
    old.stage.busy = mean(old.stage.busy, stage.busy);
    old.stage.input = mean(old.stage.input, stage.input);
    old.stage.output = mean(old.stage.output, stage.output);
    old.stage.transactionsPerSecond += stage.transactionsPerSecond;
    old.threads += 1;
  }
  return [...merged.values()].map((entry) => entry.stage);
}

/** The mean over validators that answer, stage by stage. */
export function averageStages(validators: Validator[]): Stage[] {
  const sums = new Map<string, { stage: Stage; count: number }>();
  for (const validator of validators) {
    if (!validator.online) continue;
    for (const stage of mergeStages(validator.stages)) {
      const sum = sums.get(stage.name) ?? { stage: { name: stage.name, busy: 0, input: 0, output: 0, transactionsPerSecond: 0 }, count: 0 };
      sum.stage.busy += stage.busy;
      sum.stage.input += stage.input;
      sum.stage.output += stage.output;
      sum.stage.transactionsPerSecond += stage.transactionsPerSecond;
      sum.count += 1;
      sums.set(stage.name, sum);
    }
  }
  return [...sums.values()].map(({ stage, count }) => ({
    name: stage.name,
    busy: stage.busy / count,
    input: stage.input / count,
    output: stage.output / count,
    transactionsPerSecond: stage.transactionsPerSecond / count,
  }));
}

/** The stage to look at, and whether it holds up the others: it works nearly all the time, or those before it wait for room. */
export function bottleneck(stages: Stage[]): { name: string; isBottleneck: boolean } | null {
  let busiest = -1;
  stages.forEach((stage, index) => {
    if (stage.busy > (stages[busiest]?.busy ?? 0.01)) busiest = index;
  });
  const stage = stages[busiest];
  if (!stage) return null;
  const holds = stages.slice(0, busiest).some((before) => before.output >= HELD_SHARE);
  return { name: stage.name, isBottleneck: stage.busy >= BOTTLENECK_SHARE || (holds && stage.busy >= HELD_SHARE) };
}

export function Pipeline() {
  const state = useTopics("validators");
  const chosen = useValue(selected);
  const validators = [...state.validators.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const one = state.validators.get(chosen);
  const stages = one ? mergeStages(one.stages) : averageStages(validators);
  const found = bottleneck(stages);
  const busiest = stages.find((stage) => stage.name === found?.name);
  const picker = (
    <>
      <label class="visually-hidden" for="pipeline-validator">
        Whose pipeline
      </label>
      <select
        id="pipeline-validator"
        value={one ? chosen : ALL}
        onChange={(event) => selected.set((event.currentTarget as HTMLSelectElement).value)}
      >
        <option value={ALL}>all validators, mean</option>
        {validators.map((validator) => (
          <option key={validator.id} value={validator.id}>
            {validator.id}
          </option>
        ))}
      </select>
    </>
  );
  return (
    <Panel title="Pipeline" class="pipeline" id="pipeline" aside={picker}>
      {stages.length === 0 ? (
        <Empty>{one && !one.online ? `${one.id} does not answer.` : "No validator told what its stages do yet."}</Empty>
      ) : (
        <>
          <ol class="stages">
            {stages.map((stage) => (
              <StageBox key={stage.name} stage={stage} mark={stage.name === found?.name ? (found.isBottleneck ? "bottleneck" : "busiest") : ""} />
            ))}
          </ol>
          <p class="pipeline-words" role="status">
            {found?.isBottleneck && <Icon name="alert" size={14} />}
            {found && busiest ? (
              <span>
                <b>{found.name}</b> is the {found.isBottleneck ? "bottleneck" : "busiest"}, working {percent(busiest.busy)}
              </span>
            ) : (
              <span>Nothing to do at this moment.</span>
            )}
            <span class="keys">
              <i class="swatch busy" /> working <i class="swatch held" /> held back
            </span>
          </p>
        </>
      )}
    </Panel>
  );
}

export function StageBox({ stage, mark }: { stage: Stage; mark: string }) {
  const busy = Math.min(1, Math.max(0, stage.busy));
  const held = Math.min(1 - busy, Math.max(0, stage.output));
  const told = `${stage.name}: ${WHAT[stage.name] ?? "a stage"}. Working ${percent(busy)}, held back ${percent(stage.output)}, waiting for input ${percent(stage.input)}, ${short(stage.transactionsPerSecond)} tx/s`;
  return (
    <li class={`stage ${mark}`} title={told} aria-label={told}>
      <span class="stage-name">{stage.name}</span>
      <span class="meter" aria-hidden="true" style={{ "--busy": `${busy * 100}%`, "--held": `${held * 100}%` }}>
        <i class="held" />
        <i class="busy" />
        <b>{percent(busy)}</b>
      </span>
      <span class="stage-rate">
        {short(stage.transactionsPerSecond)}
        <small> tx/s</small>
      </span>
      {mark && <span class="stage-mark">{mark}</span>}
    </li>
  );
}
