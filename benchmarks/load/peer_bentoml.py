"A peer: the same trees behind BentoML"
import bentoml
from trees import answer

@bentoml.service(workers=1)
class Trees:
    "A student in, an answer out"
    @bentoml.api
    def predict(self, student:dict, /)->dict:
        "The whole body is the student"
        return answer(student)
