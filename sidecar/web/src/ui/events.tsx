// The event log, newest first. Routine events (blocks, leaders) can be left out.

import { useState } from "preact/hooks";
import type { NetworkEvent } from "../state/frame";
import { useTopics } from "../state/store";
import { clock, dateTime } from "../util/format";
import type { IconName } from "../util/icons";
import { to } from "../util/route";
import { Empty, Icon, Panel } from "./parts";

const KINDS: Record<string, { icon: IconName; tone: string; words: string; routine?: boolean }> = {
  online: { icon: "up", tone: "green", words: "is online" },
  offline: { icon: "down", tone: "red", words: "is offline" },
  unhealthy: { icon: "alert", tone: "red", words: "is unhealthy" },
  recovered: { icon: "heart", tone: "green", words: "is well again" },
  leader: { icon: "crown", tone: "amber", words: "leads", routine: true },
  follower: { icon: "follow", tone: "grey", words: "follows", routine: true },
  block: { icon: "block", tone: "blue", words: "", routine: true },
  evidence: { icon: "gavel", tone: "red", words: "broke the rules" },
  approval: { icon: "check", tone: "green", words: "was approved" },
  registered: { icon: "plus", tone: "grey", words: "registered" },
  denied: { icon: "cross", tone: "red", words: "was refused" },
};
const OTHER = { icon: "follow" as IconName, tone: "grey", words: "" };

export function Events() {
  const state = useTopics("events");
  const [all, setAll] = useState(true);
  const shown = state.events.filter((event) => all || !KINDS[event.event]?.routine).reverse();
  return (
    <Panel
      title="Events"
      class="events"
      id="events"
      flush
      aside={
        <label class="check">
          <input type="checkbox" checked={all} onChange={(event) => setAll((event.currentTarget as HTMLInputElement).checked)} /> routine
        </label>
      }
    >
      {shown.length === 0 && <Empty>Nothing happened yet.</Empty>}
      <ol class="rows events-list" aria-label="Newest first">
        {shown.map((event) => (
          <Entry key={event.id} event={event} />
        ))}
      </ol>
    </Panel>
  );
}

function Entry({ event }: { event: NetworkEvent }) {
  const kind = KINDS[event.event] ?? OTHER;
  const isBlock = event.event === "block" && event.height !== undefined;
  return (
    <li class="event" data-event={event.event}>
      <span class={`event-icon ${kind.tone}`} title={event.event}>
        <Icon name={kind.icon} size={14} />
      </span>
      <span class="event-words">
        {isBlock ? (
          <a href={to.block(event.height ?? 0)}>{event.details || `block ${event.height}`}</a>
        ) : (
          <>
            <a class="mono" href={to.validator(event.validatorId)}>
              {event.validatorId}
            </a>{" "}
            {kind.words || event.event}
            {event.details && <span class="muted"> · {event.details}</span>}
          </>
        )}
      </span>
      <time class="muted mono" title={dateTime(event.timestamp)}>
        {clock(event.timestamp)}
      </time>
    </li>
  );
}
