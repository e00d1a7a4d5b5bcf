// One block: its header, its batches and its transactions.

import { useState } from "preact/hooks";
import { ledger, type Block } from "../api/ledger";
import { useTopics } from "../state/store";
import { count, dateTime, plural, words } from "../util/format";
import { to, withCursor } from "../util/route";
import { useLoaded } from "../util/use";
import { Ago, Badge, Empty, Facts, Icon, Name, Panel, Table, Unavailable, Who } from "../ui/parts";
import { Pager, Transactions } from "../ui/transactions";

const ROWS = 25;
const BATCHES_SHOWN = 10;

export function BlockPage({ height, cursor }: { height: number; cursor: string | null }) {
  const state = useTopics("chain");
  const isToCome = height > state.chain.height;
  // A block that is yet to come is asked for again when the chain is there.
  const loaded = useLoaded(`block ${height}`, (signal) => ledger.block(height, signal), [isToCome]);
  const list = useLoaded(`block ${height} ${cursor}`, (signal) => ledger.blockTransactions(height, ROWS, cursor, signal), [isToCome]);
  const block = loaded.data;
  return (
    <main class="page" id="main" tabIndex={-1}>
      <div class="page-head">
        <h1>Block {count(height)}</h1>
        <nav class="steps" aria-label="Neighbouring blocks">
          {height > 1 && (
            <a class="icon-button" href={to.block(height - 1)} aria-label={`Block ${height - 1}`} title={`Block ${count(height - 1)} ([)`}>
              <Icon name="back" />
            </a>
          )}
          <a class="icon-button" href={to.block(height + 1)} aria-label={`Block ${height + 1}`} title={`Block ${count(height + 1)} (])`}>
            <Icon name="follow" />
          </a>
          <a class="button" href={to.blocks}>
            All blocks
          </a>
        </nav>
      </div>
      {!block ? (
        <Panel title="Header">
          {isToCome && state.chain.height > 0 ? (
            <p class="empty" role="status">
              The chain is at height <a href={to.block(state.chain.height)}>{count(state.chain.height)}</a>; this page opens the block when it is there.
            </p>
          ) : (
            <Unavailable what="block" error={loaded.error} retry={loaded.reload} />
          )}
        </Panel>
      ) : (
        <>
          <Header block={block} />
          <Panel title="Transactions" id="block-transactions" flush aside={<span class="muted">{count(block.txCount)} in all</span>}>
            {list.data ? (
              <>
                <Transactions entries={list.data.entries} />
                <Pager first={to.block(height)} isFirst={cursor === null} next={list.data.next && withCursor(to.block(height), list.data.next)} />
              </>
            ) : (
              <Unavailable what="transactions" error={list.error} retry={list.reload} />
            )}
          </Panel>
          <Batches block={block} />
        </>
      )}
    </main>
  );
}

function Header({ block }: { block: Block }) {
  return (
    <Panel title="Header" id="block-header">
      <div class="facts-columns">
        <Facts
          rows={[
            ["hash", <Name text={block.hash} full />],
            ["parent", <Name text={block.previousHash} full {...(block.height > 1 ? { href: to.block(block.height - 1) } : {})} />],
            ["proposed by", <Who publicKey={block.producer} />],
            ["time", <span>{dateTime(block.timestamp)} <span class="muted">(<Ago ms={block.timestamp} />)</span></span>],
            ["epoch", count(block.epoch)],
            ["transactions", <span class="badges">{count(block.txCount)} {block.codes.map((entry) => <Badge key={entry.code} tone={entry.code === "applied" ? "green" : "red"}>{count(entry.count)} {words(entry.code)}</Badge>)}</span>],
            ["accounts changed", count(block.changedAccounts)],
          ]}
        />
        <Facts
          rows={[
            ["state root after it", <Name text={block.stateRoot} full />],
            ["receipts root", <Name text={block.receiptsRoot} full />],
            ["transaction root", <Name text={block.txRoot} full />],
            ["attests the roots of", block.executedHeight > 0 ? <a href={to.block(block.executedHeight)}>block {count(block.executedHeight)}</a> : "the genesis"],
            ["attested state root", <Name text={block.attestedStateRoot} full />],
            ["validator set", <Name text={block.validatorSetHash} full />],
          ]}
        />
      </div>
    </Panel>
  );
}

function Batches({ block }: { block: Block }) {
  const [all, setAll] = useState(false);
  const shown = all ? block.batches : block.batches.slice(0, BATCHES_SHOWN);
  return (
    <Panel title="Batches" flush aside={<span class="muted">{plural(block.batches.length, "batch", "batches")} in order of execution</span>}>
      {block.batches.length === 0 ? (
        <Empty>This block lists no batch.</Empty>
      ) : (
        <Table label="Batches" head={["Lane", "Sequence", "Digest"]}>
          {shown.map((batch) => (
            <tr key={batch.digest}>
              <td class="number">{batch.lane}</td>
              <td class="number">{count(batch.sequence)}</td>
              <td>
                <Name text={batch.digest} head={24} tail={8} />
              </td>
            </tr>
          ))}
        </Table>
      )}
      {shown.length < block.batches.length && (
        <div class="pager">
          <button type="button" class="button" onClick={() => setAll(true)}>
            Show all {count(block.batches.length)}
          </button>
        </div>
      )}
    </Panel>
  );
}
