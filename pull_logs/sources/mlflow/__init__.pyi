from .tracker import Mlflow as Mlflow
