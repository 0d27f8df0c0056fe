import { ordinary } from "../../lab/scenarios.ts";
import { prove } from "./prove.ts";

const LOAD_SECONDS = 3;

prove(ordinary(LOAD_SECONDS));
