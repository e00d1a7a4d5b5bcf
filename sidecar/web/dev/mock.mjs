// The page without a node: registry and page on one port (8190), the stream on the next, a ledger on a third (8080), all made up (dev/network.mjs).
// Signatures of decisions and of validator-set transactions are really checked, so that what the page signs is tested against Node's own Ed25519.
//
//   node dev/mock.mjs [--port 8190] [--ledger 8080] [--validators 5] [--rate 2000] [--sovereign KEYFILE] [--updates 0]
//
// `--updates N` sends N small extra deltas a second. Chaos is on with the token "devnet": open /#chaos=devnet.

import { createHash, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { GENESIS_HASH, hash, Network } from "./network.mjs";

const { values: given } = parseArgs({
  options: {
    port: { type: "string", default: "8190" },
    ledger: { type: "string", default: "8080" },
    validators: { type: "string", default: "5" },
    rate: { type: "string", default: "2000" },
    sovereign: { type: "string", default: "/tmp/tana-mock-sovereign.json" },
    updates: { type: "string", default: "0" },
  },
});
const port = Number(given.port);
const ledgerPort = Number(given.ledger);
const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

if (!existsSync(given.sovereign)) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const tail = (der) => `ed25519_${der.subarray(-32).toString("hex")}`;
  const file = { username: "@sovereign", publicKey: tail(publicKey.export({ type: "spki", format: "der" })), privateKey: tail(privateKey.export({ type: "pkcs8", format: "der" })) };
  writeFileSync(given.sovereign, JSON.stringify(file), { mode: 0o600 });
}
const sovereignKey = JSON.parse(readFileSync(given.sovereign, "utf8")).publicKey;
const network = new Network({ validators: Number(given.validators), rate: Number(given.rate), sovereignKey });
for (const node of network.nodes.values()) node.services[1].port = ledgerPort;

const sockets = new WebSocketServer({ port: port + 1 });
sockets.on("connection", (socket) => socket.send(JSON.stringify({ type: "network_update", data: network.snapshot() })));

function broadcast(delta) {
  network.sequence += 1;
  const text = JSON.stringify({ type: "network_update", data: { kind: "delta", sequence: network.sequence, lastUpdate: Date.now(), ...delta } });
  for (const socket of sockets.clients) socket.send(text);
}

let told = network.eventCount;
function freshEvents() {
  const events = network.events.filter((event) => Number(event.id.slice(4)) > told);
  told = network.eventCount;
  return events;
}

setInterval(() => {
  const edges = network.step();
  broadcast({ validators: [...network.validators.values()], edges, pendingTransactions: network.pending, pendingCount: network.pending.length * 3, events: freshEvents(), chain: network.chain() });
}, 250);
setInterval(() => {
  for (const node of network.nodes.values()) if (node.status === "active") node.lastHeartbeat = Date.now();
  tellMesh();
}, 5_000);
if (Number(given.updates) > 0) setInterval(() => broadcast({ chain: network.chain() }), 1_000 / Number(given.updates));

function tellMesh() {
  broadcast({ mesh: { nodes: [...network.nodes.values()], nodeCount: network.meshCount(), lastUpdate: Date.now() }, events: freshEvents() });
}

function tellLinks(before) {
  network.linkAll();
  const removedEdges = [...before.values()].filter((link) => !network.links.has(`${link.source} ${link.target}`)).map(({ source, target }) => ({ source, target }));
  broadcast({ validators: [...network.validators.values()], edges: [...network.links.values()], removedEdges, events: freshEvents() });
}

class Refusal extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

function signedBy(printed, bytes, signature) {
  const keyObject = createPublicKey({ key: Buffer.concat([SPKI, Buffer.from(printed.slice(8), "hex")]), format: "der", type: "spki" });
  return verify(null, bytes, keyObject, signature);
}

function decide(verb, id, body) {
  const node = network.nodes.get(id);
  if (body.approverPublicKey !== sovereignKey) throw new Refusal(403, "forbidden", "this key is not the sovereign's");
  const text = `${verb}:${id}:${body.timestamp}:${body.nonce}`;
  const digits = String(body.signature).replace(/^ed25519_sig_/, "");
  if (!signedBy(sovereignKey, createHash("sha256").update(text).digest(), Buffer.from(digits, "hex"))) {
    throw new Refusal(401, "unauthorized", "the signature was not made over this text by this key");
  }
  if (!node) throw new Refusal(404, "not_found", "no such node");
  node.status = verb === "approve" ? "active" : "denied";
  network.event(id, verb === "approve" ? "approval" : "denied");
  tellMesh();
  return { success: true, nodeId: id, status: node.status, validator: link(node) };
}

function link(node) {
  const chain = network.validators.has(node.id) ? "in_set" : "not_in_set";
  return { publicKey: node.publicKey, address: `127.0.0.1:${node.services[0].port}`, chain };
}

/** Reads a validator_set_change of docs/protocol.md; nothing else is taken. */
function submit(bytes) {
  const length = bytes.readUInt16LE(2);
  const signed = bytes.subarray(0, 56 + length);
  const sender = `ed25519_${bytes.subarray(24, 56).toString("hex")}`;
  const prefix = Buffer.concat([Buffer.from("tana-tx-v1\0\0\0\0\0\0", "latin1"), Buffer.from(GENESIS_HASH, "hex")]);
  if (!signedBy(sender, Buffer.concat([prefix, signed]), bytes.subarray(56 + length))) throw new Refusal(401, "bad_signature", "The signature does not belong to the sender and the bytes.");
  if (sender !== sovereignKey || bytes[1] !== 11) throw new Refusal(422, "not_sovereign", "Only the sovereign may do this.");
  if (Number(bytes.readBigUInt64LE(8)) !== network.sovereign.nonce + 1) throw new Refusal(409, "nonce_used", "The nonce was used before.");
  network.sovereign.nonce += 1;
  const printed = `ed25519_${bytes.subarray(57, 89).toString("hex")}`;
  const node = [...network.nodes.values()].find((other) => other.publicKey === printed);
  const before = network.links;
  if (node && bytes[56] === 1) network.join(node);
  if (node && bytes[56] === 0) {
    network.validators.delete(node.id);
    broadcast({ removedValidators: [node.id] });
  }
  tellLinks(before);
  return { id: hash(bytes), type: "validator_set_change", from: sender, nonce: network.sovereign.nonce, timestamp: Date.now(), status: "applied", code: "applied", blockHeight: network.height, index: 0, message: "The transaction took effect." };
}

function chaos(action, body, token) {
  if (token !== "Bearer devnet") throw new Refusal(401, "unauthorized", "this is not the devnet's token");
  const ids = action === "network-partition" ? body.validatorIds : action === "recover-all" ? [] : [body.validatorId];
  if (!Array.isArray(ids) || ids.some((id) => typeof id !== "string")) throw new Refusal(400, "bad_field", "`validatorId` is missing");
  if (ids.some((id) => !network.validators.has(id))) throw new Refusal(404, "not_found", "no such validator");
  const before = network.links;
  if (action === "kill-validator") {
    network.validators.get(ids[0]).online = false;
    network.event(ids[0], "offline", "does not answer");
  } else if (action === "network-partition") network.cut = new Set(ids);
  else if (action === "byzantine-behavior") network.event(ids[0], "evidence", "two seals of one sequence");
  else if (action === "recover-all") {
    network.cut = undefined;
    for (const validator of network.validators.values()) {
      if (!validator.online) network.event(validator.id, "online");
      validator.online = true;
    }
  }
  tellLinks(before);
  return { success: true, message: action === "recover-all" ? "everything is made well" : `${action} ${ids.join(", ")}` };
}

function nodeRow(node) {
  return {
    id: node.id,
    public_key: node.publicKey,
    tailscale_hostname: node.tailscaleHostname,
    tailscale_ip: node.tailscaleIP,
    status: node.status,
    registered_at: node.registeredAt,
    approved_at: node.status === "pending" ? null : node.registeredAt,
    approved_by: null,
    last_heartbeat: node.lastHeartbeat,
    chain: network.validators.has(node.id) ? "in_set" : "not_in_set",
    services: node.services.map((service) => ({ service_type: service.type, port: service.port, public_key: service.publicKey, healthy: service.healthy, last_check: null })),
  };
}

function registry(method, path, body, headers) {
  const [, first, second, third] = path.split("/").map(decodeURIComponent);
  if (method === "POST" && (first === "approve" || first === "deny")) return decide(first, second, body);
  if (method === "POST" && first === "api" && second === "chaos") return chaos(third, body, headers.authorization);
  if (method === "GET" && first === "nodes" && second) {
    const node = network.nodes.get(second);
    if (!node) throw new Refusal(404, "not_found", "no such node");
    return { node: nodeRow(node), heartbeats: [], validator: link(node) };
  }
  if (method === "GET" && path === "/nodes") return { nodes: [...network.nodes.values()].map(nodeRow) };
  if (method === "GET" && path === "/api/network") return network.snapshot();
  return undefined;
}

function page(list, query, of) {
  const limit = Number(query.get("limit") ?? 10);
  const from = Number(query.get("cursor") ?? 0);
  return { [of]: list.slice(from, from + limit), nextCursor: from + limit < list.length ? String(from + limit) : null };
}

const bare = ({ transactions: _, ...block }) => block;
const missing = (what) => {
  throw new Refusal(404, "not_found", `there is no such ${what}`);
};

function ledger(method, path, query, body) {
  const [, first, second, third] = path.split("/").map(decodeURIComponent);
  if (method === "POST" && first === "transactions") return submit(body);
  const user = (name) => [network.sovereign, ...network.accounts].find((one) => one.publicKey === name || one.username === name || `@${name}` === one.username) ?? missing("account");
  const asUser = (found) => ({ ...found, id: found.publicKey, height: network.height });
  const all = () => network.blocks.flatMap((block) => block.transactions).reverse();
  if (path === "/") return { service: "tana-ledger", status: "healthy", chain: "mock", genesisHash: GENESIS_HASH, head: { height: network.height, oldestHeight: 1 } };
  if (path === "/blocks") return page([...network.blocks].reverse().map(bare), query, "blocks");
  if (first === "blocks" && second === "hash") return bare(network.blocks.find((block) => block.hash === third) ?? missing("block"));
  if (first === "blocks") {
    const block = network.blocks.find((one) => one.height === Number(second)) ?? missing(`block ${second}`);
    return third === "transactions" ? page(block.transactions, query, "transactions") : bare(block);
  }
  if (first === "transactions") return all().find((one) => one.id === second) ?? missing("transaction");
  if (first === "users" && second === "username") return asUser(user(third));
  if (first === "users") {
    const found = user(second);
    if (third === "balances") return { balances: [{ currencyCode: "USD", amount: "1234567.50" }, { currencyCode: "EUR", amount: "88.00" }, { currencyCode: "BTC", amount: "0.01250000" }], height: network.height };
    if (third === "transactions") return page(all().filter((one) => one.from === found.publicKey || one.to === found.publicKey), query, "transactions");
    return asUser(found);
  }
  if (path === "/pending") {
    const requests = network.accounts.slice(0, 3).map((account, place) => ({ id: hash(`request ${place}`), type: place === 1 ? "withdraw" : "deposit", from: account.publicKey, amount: `${place + 1}500.00`, currencyCode: "USD", status: "pending", blockHeight: network.height - 20 * place }));
    return { count: requests.length, transactions: requests, nextCursor: null };
  }
  if (path === "/validators") {
    const epoch = network.chain().epoch;
    return { epoch, firstHeight: epoch * network.epochBlocks + 1, lastHeight: (epoch + 1) * network.epochBlocks, currentEpoch: epoch, validators: [...network.validators.values()].map(({ id, publicKey }, lane) => ({ id, publicKey, address: "", lane })) };
  }
  return missing("route");
}

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain" };
// As the sidecar serves the page: nothing inline, nothing from elsewhere.
const POLICY = (host) =>
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; manifest-src 'self'; worker-src 'self'; " +
  `connect-src 'self' ws://${host}:${port + 1} http://${host}:${ledgerPort}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`;

function file(path, host) {
  const name = normalize(path).replace(/^\/+/, "") || "index.html";
  const at = join(DIST, name);
  const found = at.startsWith(DIST) && existsSync(at) && extname(at) !== "" ? at : join(DIST, "index.html");
  return [readFileSync(found), { "content-type": TYPES[extname(found)] ?? "application/octet-stream", "content-security-policy": POLICY(host) }];
}

function serve(at, answer) {
  createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const url = new URL(request.url, "http://mock");
      const open = { "access-control-allow-origin": "*", "access-control-allow-headers": "*" };
      const json = (status, value) => response.writeHead(status, { "content-type": "application/json", ...open }).end(JSON.stringify(value));
      try {
        if (request.method === "OPTIONS") return response.writeHead(204, open).end();
        const result = answer(request, url, Buffer.concat(chunks));
        if (Array.isArray(result)) return response.writeHead(200, result[1]).end(result[0]);
        json(200, result);
      } catch (error) {
        json(error.status ?? 500, { error: error.message, code: error.code ?? "internal" });
      }
    });
  }).listen(at);
}

serve(port, (request, url, body) => {
  const parsed = request.method === "POST" ? JSON.parse(body.toString() || "{}") : null;
  return registry(request.method, url.pathname, parsed, request.headers) ?? file(url.pathname, (request.headers.host ?? "localhost").replace(/:\d+$/, ""));
});
serve(ledgerPort, (request, url, body) => ledger(request.method, url.pathname, url.searchParams, body));
console.log(`page http://127.0.0.1:${port}/#chaos=devnet  stream ${port + 1}  ledger ${ledgerPort}  sovereign's key file ${given.sovereign}`);
