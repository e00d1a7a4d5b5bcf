// Opening a key file. What is read stays in this page's memory, for signing; nothing of it is sent or stored.

import { useRef, useState } from "preact/hooks";
import { reason } from "../api/http";
import { ledger } from "../api/ledger";
import { KEY_FILE_BYTES_MAX, readKeyFile } from "../crypto/keyfile";
import { signer, useValue } from "../util/value";
import { Badge, Icon, Name, Panel } from "./parts";
import { useLoaded } from "../util/use";

export function KeyPanel() {
  const key = useValue(signer);
  const input = useRef<HTMLInputElement>(null);
  const [error, setError] = useState("");
  const open = async (file: File | undefined) => {
    if (!file) return;
    setError("");
    try {
      if (file.size > KEY_FILE_BYTES_MAX) throw new Error("this file is too large to be a key file");
      signer.set(await readKeyFile(await file.text()));
    } catch (thrown) {
      setError(reason(thrown));
    }
    // So that the same file can be opened again, and the form holds no trace of it.
    if (input.current) input.current.value = "";
  };
  return (
    <Panel title="Sign as" id="key" class="key-panel">
      <div class="key-row">
        <input
          ref={input}
          class="visually-hidden"
          id="key-file"
          type="file"
          accept=".json,application/json"
          onChange={(event) => void open((event.currentTarget as HTMLInputElement).files?.[0])}
        />
        {key ? (
          <>
            <Icon name="key" size={18} />
            <b>{key.username || "key"}</b>
            <Role publicKey={key.printed} />
            <Name text={key.printed} head={22} tail={6} />
            <span class="small muted">signed by {key.by === "WebCrypto" ? "the browser" : "this page"}</span>
            <button type="button" class="button" onClick={() => signer.set(null)}>
              Forget the key
            </button>
          </>
        ) : (
          <>
            <label class="button primary" for="key-file">
              <Icon name="file" size={15} /> Open key file
            </label>
            <p class="small muted">
              The sovereign's <code>~/.config/tana/users/@name.json</code>. It is read here, kept in memory until you leave the page, and never sent: the browser signs, and
              only signatures go out.
            </p>
          </>
        )}
      </div>
      {error && (
        <p class="bad-text" role="alert">
          <Icon name="alert" size={14} /> {error}.
        </p>
      )}
    </Panel>
  );
}

/** What the chain says of a key: only the sovereign's counts here. */
function Role({ publicKey }: { publicKey: string }) {
  const user = useLoaded(`role ${publicKey}`, (signal) => ledger.user(publicKey, signal));
  if (user.data) {
    const isSovereign = user.data.role === "sovereign";
    return <Badge tone={isSovereign ? "amber" : "red"}>{isSovereign ? "SOVEREIGN" : `${user.data.role.toUpperCase()}, MAY NOT DECIDE`}</Badge>;
  }
  if (user.error) return <Badge tone="grey">{"status" in user.error && user.error.status === 404 ? "NO ACCOUNT ON THIS CHAIN" : "ROLE NOT KNOWN"}</Badge>;
  return null;
}
