"A peer: the same trees behind LitServe; the argument is the port"
import sys

import litserve
from trees import answer

class Trees(litserve.LitAPI):
    "A student in, an answer out"
    def setup(self, device): pass
    def predict(self, student): return answer(student)

if __name__ == "__main__":
    litserve.LitServer(Trees(), accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning",
                                                       generate_client_file=False)
