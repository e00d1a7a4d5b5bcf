// The validators: how each stands, worst first where something is wrong.

import type { Validator } from "../state/frame";
import { standing, type Standing } from "../state/reduce";
import { ALL } from "../state/history";
import { useTopics } from "../state/store";
import { count, short } from "../util/format";
import { to } from "../util/route";
import { selected, useValue } from "../util/value";
import { Ago, Badge, Empty, Icon, Panel } from "./parts";

const TONE: Record<Standing, string> = { leader: "amber", healthy: "green", unhealthy: "red", offline: "red hollow" };

export function StandingBadge({ validator }: { validator: Validator }) {
  const how = standing(validator);
  return <Badge tone={TONE[how]}>{how.toUpperCase()}</Badge>;
}

export function Validators() {
  const state = useTopics("validators", "link");
  const chosen = useValue(selected);
  const validators = [...state.validators.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const well = validators.filter((validator) => validator.healthy).length;
  return (
    <Panel title="Validators" class="validators" id="validators" flush aside={<span class="muted">{well} of {validators.length} healthy</span>}>
      {validators.length === 0 && <Empty>No validator is known yet.</Empty>}
      <ul class="rows">
        {validators.map((validator) => (
          <Row key={validator.id} validator={validator} chosen={validator.id === chosen} />
        ))}
      </ul>
    </Panel>
  );
}

function Row({ validator, chosen }: { validator: Validator; chosen: boolean }) {
  return (
    <li class={chosen ? "row chosen" : "row"} data-testid="validator-row" data-id={validator.id} data-standing={standing(validator)}>
      <button type="button" class="row-main" aria-pressed={chosen} title="Show its pipeline and charts" onClick={() => selected.set(chosen ? ALL : validator.id)}>
        <span class="row-line">
          <StandingBadge validator={validator} />
          <span class="mono strong">{validator.id}</span>
          <span class="row-end">
            {short(validator.appliedTps)} <small class="muted">tx/s</small>
          </span>
        </span>
        <span class="row-line small muted">
          <span>
            height <b class="mono">{count(validator.currentHeight)}</b>
          </span>
          <span>
            <b>{validator.peerCount}</b> {validator.peerCount === 1 ? "peer" : "peers"}
          </span>
          <span>
            seen <Ago ms={validator.lastSeen} />
          </span>
        </span>
        {!validator.healthy && validator.reason && <span class="row-line small reason">{validator.reason}</span>}
      </button>
      <a class="row-more" href={to.validator(validator.id)} aria-label={`All about ${validator.id}`} title="Details">
        <Icon name="follow" size={14} />
      </a>
    </li>
  );
}
