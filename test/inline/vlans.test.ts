import { SPECIAL } from "../../lab/scenarios.ts";
import { prove } from "./prove.ts";

prove(SPECIAL.vlans);
prove(SPECIAL.trunk);
