"A peer: FastAPI around an XGBoost model, as lean as it is usually written"
from fastapi import FastAPI
from trees import answer

app = FastAPI()

@app.post("/predict")
async def predict(student:dict)->dict:
    "A student in, an answer out"
    return answer(student)
