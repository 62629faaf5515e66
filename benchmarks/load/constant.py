"The measure: a FastAPI application that parses the same JSON and returns a constant"
from fastapi import FastAPI

app = FastAPI()
REPLY = {"grade": "B", "grade_index": 1, "probabilities": {"A": 0.1, "B": 0.6, "C": 0.1, "D": 0.1, "F": 0.1}}

@app.post("/predict")
async def predict(student:dict)->dict:
    "The same for everyone"
    return REPLY
