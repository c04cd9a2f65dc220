import { Dashboard } from "./dashboard.tsx";
import { render } from "./ui.ts";

const place = document.querySelector("#dashboard");
if (place !== null) {
  place.replaceChildren();
  render(<Dashboard />, place);
}
