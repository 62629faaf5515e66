"Things for gradeclass that are not in gradeclass"
