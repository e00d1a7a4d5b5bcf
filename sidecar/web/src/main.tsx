// Starts the page.

import { render } from "preact";
import { chaosIsHere, takeToken } from "./api/chaos";
import { streamUrl } from "./api/places";
import { store } from "./state/store";
import "./styles/base.css";
import "./styles/header.css";
import "./styles/parts.css";
import "./styles/layout.css";
import "./styles/live.css";
import "./styles/pages.css";
// Last, because it changes what the others say.
import "./styles/narrow.css";
import { App } from "./ui/app";
import { applyTheme, chosenTheme } from "./util/prefs";
import { chaosToken } from "./util/value";

applyTheme(chosenTheme());
const token = takeToken();
if (token) void chaosIsHere(token).then((here) => chaosToken.set(here ? token : null));
store.start(streamUrl(location));
const root = document.getElementById("app");
if (root) render(<App />, root);
